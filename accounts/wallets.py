"""Who signed a message: the address' own key, or a contract wallet that vouches for it (EIP-1271, EIP-6492)."""

import threading
from collections.abc import Sequence
from random import Random
from time import monotonic
from typing import Any

from eth_account.messages import encode_defunct
from siwe import InvalidSignature, SiweMessage, VerificationError
from siwe.siwe import check_contract_wallet_signature
from web3 import Web3
from web3.providers.base import BaseProvider

from indexer.chain import HEX_BYTES, MalformedAnswer, parsed
from indexer.endpoints import Endpoint, RpcError, RpcRefused
from indexer.rpc import REVERT_CODE, REVERTED

PATIENCE = 5.0  # seconds for all calls of one check, over all nodes
ENDPOINT_TIMEOUT = 2.0  # seconds that one node has for one call
AT_ONCE = 4  # checks by nodes; a web process has more threads than that
_checks = threading.BoundedSemaphore(AT_ONCE)


class NodeUnavailable(Exception):
    """No node answers in time, or too many are being asked; the wallet may be right."""


class Nodes(BaseProvider):
    """web3's way to the nodes of RPC_URL, each tried in turn within PATIENCE. Raises NodeUnavailable."""

    # A contract must not make us open the URL that it names (EIP-3668).
    global_ccip_read_enabled = False

    def __init__(self, urls: Sequence[str]) -> None:
        super().__init__()
        self._urls = urls
        self._deadline = monotonic() + PATIENCE

    def make_request(self, method: Any, params: Any) -> Any:
        for url in self._urls:
            left = self._deadline - monotonic()
            if left <= 0:
                break
            endpoint = Endpoint(
                url,
                clock=monotonic,
                random=Random(),
                timeout=min(left, ENDPOINT_TIMEOUT),
                observe=lambda *_: None,
            )
            try:
                answer = parsed(endpoint.ask([(str(method), params)])[0])
            except RpcRefused as error:
                if error.code == REVERT_CODE or REVERTED.search(error.said):
                    said = {"code": REVERT_CODE, "message": "execution reverted"}
                    return {"jsonrpc": "2.0", "id": 1, "error": said}
            except (RpcError, MalformedAnswer):
                pass
            else:
                if isinstance(answer, str) and (HEX_BYTES.fullmatch(answer) or method == "eth_chainId"):
                    return {"jsonrpc": "2.0", "id": 1, "result": answer}
        raise NodeUnavailable


def is_signed(message: SiweMessage, signature: str, rpc_urls: Sequence[str]) -> bool:
    """Whether the message's address signed it, or vouches for it. `signature` is 0x and hex.

    Nodes are asked where the signature is not that of the address' own key. Raises NodeUnavailable.
    """
    try:
        message.verify(signature)
        return True
    except InvalidSignature:
        pass
    except VerificationError:
        return False
    is_zero = len(signature) > 2 and not signature.strip("0x")
    return not is_zero and bool(rpc_urls) and _is_vouched_for(message, signature, rpc_urls)


def _is_vouched_for(message: SiweMessage, signature: str, rpc_urls: Sequence[str]) -> bool:
    if not _checks.acquire(timeout=1.0):
        raise NodeUnavailable
    try:
        return check_contract_wallet_signature(
            address=message.address,
            message=encode_defunct(text=message.prepare_message()),
            signature=signature,
            chain_id=message.chain_id,
            w3=Web3(Nodes(rpc_urls)),
        )
    except VerificationError:  # the nodes are of another chain
        raise NodeUnavailable from None
    finally:
        _checks.release()

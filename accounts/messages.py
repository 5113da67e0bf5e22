"""Reads a Sign-In with Ethereum message (EIP-4361), and says what is wrong with it.

The library's own parsers take seconds of CPU for two kilobytes of nonsense: what comes from outside is read here, in
one pass with bounds, and the library gets the parts.
"""

import re
from collections.abc import Collection
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from siwe import ISO8601Datetime, SiweMessage
from siwe.siwe import VersionEnum
from web3 import Web3

LONGEST_MESSAGE = 4096  # characters
LONGEST_AGE = timedelta(minutes=10)  # of issuedAt: a nonce's life, and clocks that are behind
SKEW = timedelta(minutes=1)  # that a client's clock may be ahead

_URI = r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]{1,512}"
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
_FORM = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]{0,15})://)?(?P<domain>[A-Za-z0-9.:\[\]-]{1,255})"
    r" wants you to sign in with your Ethereum account:\n"
    r"(?P<address>0x[0-9a-fA-F]{40})\n\n"
    r"(?:(?P<statement>[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;= -]{1,1024})\n)?\n"
    rf"URI: (?P<uri>{_URI})\n"
    r"Version: 1\n"
    r"Chain ID: (?P<chain_id>0|[1-9][0-9]{0,18})\n"
    r"Nonce: (?P<nonce>[A-Za-z0-9]{8,64})\n"
    rf"Issued At: (?P<issued_at>{_TIME})"
    rf"(?:\nExpiration Time: (?P<expiration_time>{_TIME}))?"
    rf"(?:\nNot Before: (?P<not_before>{_TIME}))?"
    r"(?:\nRequest ID: (?P<request_id>[A-Za-z0-9._~!$&'()*+,;=:@%-]{0,128}))?"
    rf"(?P<resources>\nResources:(?:\n- {_URI}){{0,16}})?"
)


class Malformed(ValueError):
    """Not an EIP-4361 message."""


class Refused(Exception):
    """A well-formed message that must not sign anybody in; says why."""


def read(text: str) -> SiweMessage:
    """The parts of a message. Raises Malformed."""
    found = _FORM.fullmatch(text) if len(text) <= LONGEST_MESSAGE else None
    if found is None:
        raise Malformed("Not a Sign-In with Ethereum message (EIP-4361), or too long.")
    parts = found.groupdict()
    if not _is_address(parts["address"]):
        raise Malformed("The address has a wrong checksum (EIP-55).")
    try:
        times = {name: _time(parts[name]) for name in ("issued_at", "expiration_time", "not_before")}
    except ValueError:
        raise Malformed("A time in it does not exist.") from None
    resources = parts["resources"]
    others = {
        "version": VersionEnum.one,
        "chain_id": int(parts["chain_id"]),
        "resources": None if resources is None else resources.split("\n- ")[1:],
    }
    message = SiweMessage.model_construct(**parts | times | others)
    if message.prepare_message() != text:
        raise Malformed("Not written as EIP-4361 says.")
    return message


def check(message: SiweMessage, *, origins: Collection[str], chain_id: int, now: datetime) -> None:
    """Whether it was written for us, here and now. Raises Refused. `origins` are those of our pages."""
    try:
        uri = urlsplit(str(message.uri))
    except ValueError:
        raise Refused("The message is for another URI.") from None
    origin = f"{uri.scheme}://{uri.netloc}"
    if message.domain not in {urlsplit(known).netloc for known in origins}:
        raise Refused("The message is for another domain.")
    if origin not in origins or uri.netloc != message.domain or (message.scheme or uri.scheme) != uri.scheme:
        raise Refused("The message is for another URI.")
    if message.chain_id != chain_id:
        raise Refused("The message is for another chain.")
    if int(message.address, 16) == 0:
        raise Refused("Nobody has this address.")
    age = now - message.issued_at._datetime
    if age < -SKEW:
        raise Refused("The message was issued in the future.")
    if age > LONGEST_AGE:
        raise Refused("The message was issued too long ago.")
    if message.expiration_time is not None and now >= message.expiration_time._datetime:
        raise Refused("The message has expired.")
    if message.not_before is not None and now < message.not_before._datetime:
        raise Refused("The message is not valid yet.")


def _is_address(text: str) -> bool:
    digits = text[2:]
    return digits in (digits.lower(), digits.upper()) or Web3.is_checksum_address(text)


def _time(text: str | None) -> ISO8601Datetime | None:
    """Raises ValueError for a day or hour that does not exist."""
    return None if text is None else ISO8601Datetime(text)

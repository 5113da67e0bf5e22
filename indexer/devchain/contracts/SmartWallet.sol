// SPDX-License-Identifier: LGPL-3.0-only
pragma solidity ^0.8.24;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ERC1155Holder} from "@openzeppelin/contracts/token/ERC1155/utils/ERC1155Holder.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @notice A contract wallet that runs several calls in one transaction: trades whose trader is not the sender.
/// It signs what its owner signs.
contract SmartWallet is Ownable, ERC1155Holder, IERC1271 {
    struct Call {
        address target;
        uint256 value;
        bytes data;
    }

    constructor(address owner) Ownable(owner) {}

    receive() external payable {}

    /// @notice All calls succeed, in order, or none; a failing call's own error is passed on.
    function execute(Call[] calldata calls) external payable onlyOwner returns (bytes[] memory results) {
        results = new bytes[](calls.length);
        for (uint256 i = 0; i < calls.length; i++) {
            results[i] = Address.functionCallWithValue(calls[i].target, calls[i].data, calls[i].value);
        }
    }

    /// @notice The magic value for a hash that the owner has signed (EIP-1271), else another one.
    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(hash, signature);
        bool valid = failure == ECDSA.RecoverError.NoError && signer == owner();
        return valid ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }
}

// SPDX-License-Identifier: LGPL-3.0-only
pragma solidity ^0.8.24;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ERC1155Holder} from "@openzeppelin/contracts/token/ERC1155/utils/ERC1155Holder.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";

/// @notice A contract wallet that runs several calls in one transaction: trades whose trader is not the sender.
contract SmartWallet is Ownable, ERC1155Holder {
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
}

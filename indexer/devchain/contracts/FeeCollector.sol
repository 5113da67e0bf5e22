// SPDX-License-Identifier: LGPL-3.0-only
pragma solidity ^0.8.24;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @notice Keeps the platform's fees, paid by markets or traders, until the owner withdraws them.
contract FeeCollector is Ownable {
    using SafeERC20 for IERC20;

    event FeeCollected(address indexed token, bytes32 indexed marketId, address indexed payer, uint256 amount);
    event FeesWithdrawn(address indexed token, address indexed to, uint256 amount);

    error NothingToCollect();
    error NothingToWithdraw();

    constructor(address owner) Ownable(owner) {}

    /// @notice Pulls `amount` of `token`, in its smallest unit, from the caller.
    function collectFee(address token, bytes32 marketId, uint256 amount) external {
        if (amount == 0) revert NothingToCollect();
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        emit FeeCollected(token, marketId, msg.sender, amount);
    }

    /// @notice Sends everything held in `token` to the owner.
    function withdrawFees(address token) external onlyOwner {
        uint256 amount = IERC20(token).balanceOf(address(this));
        if (amount == 0) revert NothingToWithdraw();
        IERC20(token).safeTransfer(msg.sender, amount);
        emit FeesWithdrawn(token, msg.sender, amount);
    }
}

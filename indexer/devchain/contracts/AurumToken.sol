// SPDX-License-Identifier: LGPL-3.0-only
pragma solidity ^0.8.24;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @notice AURUM (18 decimals): staked on proposals and disputes, and the weight of votes.
contract AurumToken is ERC20, Ownable {
    constructor(address owner) ERC20("Aurum", "AURUM") Ownable(owner) {}

    function mint(address to, uint256 amount) external onlyOwner {
        _mint(to, amount);
    }
}

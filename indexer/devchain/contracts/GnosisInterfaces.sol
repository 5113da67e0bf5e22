// SPDX-License-Identifier: LGPL-3.0-only
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @dev The part of Gnosis' ConditionalTokens 1.0.3 (Solidity 0.5, hence no import) that Aurum calls.
interface IConditionalTokens {
    function prepareCondition(address oracle, bytes32 questionId, uint256 outcomeSlotCount) external;

    function reportPayouts(bytes32 questionId, uint256[] calldata payouts) external;

    function payoutNumerators(bytes32 conditionId, uint256 index) external view returns (uint256);

    function payoutDenominator(bytes32 conditionId) external view returns (uint256);

    function getOutcomeSlotCount(bytes32 conditionId) external view returns (uint256);

    function getConditionId(address oracle, bytes32 questionId, uint256 outcomeSlotCount)
        external
        pure
        returns (bytes32);
}

/// @dev The part of Gnosis' FixedProductMarketMaker 1.8.1 that Aurum calls; it is also the ERC-20 of its own LP shares.
interface IFixedProductMarketMaker is IERC20 {
    function addFunding(uint256 addedFunds, uint256[] calldata distributionHint) external;
}

interface IFixedProductMarketMakerFactory {
    function createFixedProductMarketMaker(
        IConditionalTokens conditionalTokens,
        IERC20 collateralToken,
        bytes32[] calldata conditionIds,
        uint256 fee
    ) external returns (IFixedProductMarketMaker);
}

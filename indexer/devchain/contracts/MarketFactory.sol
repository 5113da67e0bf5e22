// SPDX-License-Identifier: LGPL-3.0-only
pragma solidity ^0.8.24;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ERC1155Holder} from "@openzeppelin/contracts/token/ERC1155/utils/ERC1155Holder.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {
    IConditionalTokens, IFixedProductMarketMaker, IFixedProductMarketMakerFactory
} from "./GnosisInterfaces.sol";

interface IQuestionRegistry {
    function registerQuestion(bytes32 questionId, uint256 outcomeSlotCount, bool isBinary) external;
}

/// @notice Creates markets (a question, a condition) and their AMMs, and announces their resolution.
/// @dev Accepts ERC-1155 because an AMM's first funding sends a batch (of zeros) back to its funder, the factory.
contract MarketFactory is AccessControl, ERC1155Holder, ReentrancyGuard {
    using SafeERC20 for IERC20;

    bytes32 public constant MARKET_CREATOR_ROLE = keccak256("MARKET_CREATOR_ROLE");
    bytes32 public constant MARKET_RESOLVER_ROLE = keccak256("MARKET_RESOLVER_ROLE");

    /// @dev ConditionalTokens keeps an index set in 256 bits.
    uint256 public constant MAX_OUTCOMES = 256;
    /// @dev AMM fees are fractions of this.
    uint256 public constant ONE = 1e18;

    /// @dev Question and outcome texts are in MarketCreated only: no contract needs them.
    struct Market {
        bytes32 questionId;
        bytes32 conditionId;
        address creator;
        address collateralToken;
        address amm;
        uint256 outcomeSlotCount;
        uint256 resolutionTime;
        bool isBinary;
        bool resolved;
    }

    IConditionalTokens public immutable conditionalTokens;
    IFixedProductMarketMakerFactory public immutable fpmmFactory;
    IQuestionRegistry public immutable oracle;

    mapping(address token => bool) public isCollateral;
    mapping(address creator => uint256) public nonces;
    mapping(bytes32 marketId => Market) private _markets;

    event MarketCreated(
        bytes32 indexed marketId,
        bytes32 indexed questionId,
        bytes32 indexed conditionId,
        address creator,
        address collateralToken,
        string question,
        string[] outcomes,
        uint256 resolutionTime
    );
    event AMMDeployed(bytes32 indexed marketId, address indexed amm, uint256 initialLiquidity, uint256 fee);
    event MarketResolved(bytes32 indexed marketId, bytes32 indexed conditionId, uint256[] payouts);

    error CollateralNotAllowed(address token);
    error InvalidOutcomeCount(uint256 count);
    error ResolutionTimeNotInFuture(uint256 resolutionTime);
    error UnknownMarket(bytes32 marketId);
    error AMMAlreadyDeployed(bytes32 marketId);
    error InvalidFee(uint256 fee);
    error ConditionNotResolved(bytes32 conditionId);
    error MarketAlreadyResolved(bytes32 marketId);

    constructor(
        IConditionalTokens conditionalTokens_,
        IFixedProductMarketMakerFactory fpmmFactory_,
        IQuestionRegistry oracle_,
        address admin
    ) {
        conditionalTokens = conditionalTokens_;
        fpmmFactory = fpmmFactory_;
        oracle = oracle_;
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    /// @notice Registers the question with the oracle, prepares the condition unless somebody has, announces the market.
    function createMarket(
        address collateralToken,
        string calldata question,
        string[] calldata outcomes,
        uint256 resolutionTime
    ) external onlyRole(MARKET_CREATOR_ROLE) returns (bytes32 marketId) {
        if (!isCollateral[collateralToken]) revert CollateralNotAllowed(collateralToken);
        if (outcomes.length < 2 || outcomes.length > MAX_OUTCOMES) revert InvalidOutcomeCount(outcomes.length);
        if (resolutionTime <= block.timestamp) revert ResolutionTimeNotInFuture(resolutionTime);

        bytes32 questionId;
        (marketId, questionId) = nextIds(msg.sender);
        nonces[msg.sender]++;

        Market storage market = _markets[marketId];
        market.questionId = questionId;
        market.creator = msg.sender;
        market.collateralToken = collateralToken;
        market.outcomeSlotCount = outcomes.length;
        market.resolutionTime = resolutionTime;
        market.isBinary = outcomes.length == 2;
        market.conditionId = _openQuestion(questionId, outcomes.length);

        emit MarketCreated(
            marketId,
            questionId,
            market.conditionId,
            msg.sender,
            collateralToken,
            question,
            outcomes,
            resolutionTime
        );
    }

    /// @notice Creates the market's only AMM and funds it with the caller's collateral; the LP shares go to the caller.
    /// @param initialLiquidity in the collateral's smallest unit
    /// @param fee fraction of 1e18 that a trade pays
    function deployAMM(bytes32 marketId, uint256 initialLiquidity, uint256 fee)
        external
        onlyRole(MARKET_CREATOR_ROLE)
        nonReentrant
        returns (address)
    {
        Market storage market = _market(marketId);
        if (market.amm != address(0)) revert AMMAlreadyDeployed(marketId);
        if (fee >= ONE) revert InvalidFee(fee);

        IERC20 collateral = IERC20(market.collateralToken);
        bytes32[] memory conditionIds = new bytes32[](1);
        conditionIds[0] = market.conditionId;
        IFixedProductMarketMaker amm =
            fpmmFactory.createFixedProductMarketMaker(conditionalTokens, collateral, conditionIds, fee);
        market.amm = address(amm);

        collateral.safeTransferFrom(msg.sender, address(this), initialLiquidity);
        collateral.forceApprove(address(amm), initialLiquidity);
        amm.addFunding(initialLiquidity, new uint256[](0));
        IERC20(address(amm)).safeTransfer(msg.sender, amm.balanceOf(address(this)));

        emit AMMDeployed(marketId, address(amm), initialLiquidity, fee);
        return address(amm);
    }

    /// @notice Announces, once, the payouts that the condition was resolved with.
    function resolveMarket(bytes32 marketId) external onlyRole(MARKET_RESOLVER_ROLE) {
        Market storage market = _market(marketId);
        bytes32 conditionId = market.conditionId;
        if (market.resolved) revert MarketAlreadyResolved(marketId);
        if (conditionalTokens.payoutDenominator(conditionId) == 0) revert ConditionNotResolved(conditionId);

        market.resolved = true;
        uint256[] memory payouts = new uint256[](market.outcomeSlotCount);
        for (uint256 i = 0; i < payouts.length; i++) {
            payouts[i] = conditionalTokens.payoutNumerators(conditionId, i);
        }
        emit MarketResolved(marketId, conditionId, payouts);
    }

    function getMarket(bytes32 marketId) external view returns (Market memory) {
        return _market(marketId);
    }

    /// @notice The ids that `creator`'s next createMarket will have.
    function nextIds(address creator) public view returns (bytes32 marketId, bytes32 questionId) {
        questionId = keccak256(abi.encode(block.chainid, address(this), creator, nonces[creator]));
        marketId = keccak256(abi.encode(address(this), questionId));
    }

    function grantMarketCreator(address account) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _grantRole(MARKET_CREATOR_ROLE, account);
    }

    function revokeMarketCreator(address account) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _revokeRole(MARKET_CREATOR_ROLE, account);
    }

    function grantMarketResolver(address account) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _grantRole(MARKET_RESOLVER_ROLE, account);
    }

    function revokeMarketResolver(address account) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _revokeRole(MARKET_RESOLVER_ROLE, account);
    }

    function addCollateral(address token) external onlyRole(DEFAULT_ADMIN_ROLE) {
        isCollateral[token] = true;
    }

    function removeCollateral(address token) external onlyRole(DEFAULT_ADMIN_ROLE) {
        isCollateral[token] = false;
    }

    function supportsInterface(bytes4 interfaceId)
        public
        view
        override(AccessControl, ERC1155Holder)
        returns (bool)
    {
        return super.supportsInterface(interfaceId);
    }

    function _openQuestion(bytes32 questionId, uint256 outcomeSlotCount) private returns (bytes32 conditionId) {
        oracle.registerQuestion(questionId, outcomeSlotCount, outcomeSlotCount == 2);
        conditionId = conditionalTokens.getConditionId(address(oracle), questionId, outcomeSlotCount);
        // Anybody may prepare a condition whose ids can be foreseen; that must not stop the market.
        if (conditionalTokens.getOutcomeSlotCount(conditionId) == 0) {
            conditionalTokens.prepareCondition(address(oracle), questionId, outcomeSlotCount);
        }
    }

    function _market(bytes32 marketId) private view returns (Market storage market) {
        market = _markets[marketId];
        if (market.creator == address(0)) revert UnknownMarket(marketId);
    }
}

// SPDX-License-Identifier: LGPL-3.0-only
pragma solidity ^0.8.24;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IConditionalTokens} from "./GnosisInterfaces.sol";

/// @notice Optimistic oracle: a staked proposal stands unless it is disputed in time and outvoted.
/// @dev All times are unix seconds, all stakes and weights AURUM with 18 decimals, payouts fractions of 1e18.
contract AurumOracle is AccessControl {
    using SafeERC20 for IERC20;

    bytes32 public constant REGISTRAR_ROLE = keccak256("REGISTRAR_ROLE");

    uint256 public constant STAKE = 100e18;
    uint256 public constant PAYOUT_UNIT = 1e18;
    uint256 public constant BINARY_CHALLENGE_PERIOD = 2 hours;
    uint256 public constant CATEGORICAL_CHALLENGE_PERIOD = 24 hours;
    uint256 public constant COMMIT_PERIOD = 24 hours;
    uint256 public constant REVEAL_PERIOD = 24 hours;
    uint256 public constant STALE_AFTER = 7 days;

    struct Question {
        uint256 outcomeSlotCount;
        bool isBinary;
        bool resolved;
        bool voided;
        /// @dev Counts proposals, so that the votes on a stale one do not carry over to the next.
        uint256 round;
    }

    /// @dev What is unset is zero: nobody proposed (proposer), nobody disputed (disputer).
    struct Proposal {
        uint256 outcomeSlotCount;
        bool isBinary;
        bool resolved;
        bool voided;
        address proposer;
        uint256[] payouts;
        uint256 stake;
        uint256 proposedAt;
        uint256 expiresAt;
        address disputer;
        uint256[] disputePayouts;
        uint256 disputeStake;
        uint256 disputedAt;
        uint256 commitEndsAt;
        uint256 revealEndsAt;
        uint256 proposalWeight;
        uint256 disputeWeight;
    }

    IConditionalTokens public immutable conditionalTokens;
    IERC20 public immutable aurum;

    mapping(bytes32 questionId => Question) private _questions;
    mapping(bytes32 questionId => Proposal) private _proposals;
    /// @notice A voter's commitment in a round; cleared by its reveal.
    mapping(bytes32 questionId => mapping(uint256 round => mapping(address voter => bytes32))) public commitments;

    event QuestionRegistered(bytes32 indexed questionId, uint256 outcomeSlotCount, bool isBinary);
    event OutcomeProposed(
        bytes32 indexed questionId, address indexed proposer, uint256[] payouts, uint256 stake, uint256 expiresAt
    );
    event ProposalDisputed(bytes32 indexed questionId, address indexed disputer, uint256[] payouts, uint256 stake);
    event VoteCommitted(bytes32 indexed questionId, address indexed voter, bytes32 commitHash);
    event VoteRevealed(bytes32 indexed questionId, address indexed voter, uint256[] payouts, uint256 weight);
    event QuestionResolved(bytes32 indexed questionId, uint256[] payouts);
    event QuestionVoided(bytes32 indexed questionId);

    error NotRegistrar(address account);
    error AlreadyRegistered(bytes32 questionId);
    error UnknownQuestion(bytes32 questionId);
    error InvalidOutcomeCount(uint256 count);
    error AlreadyResolved(bytes32 questionId);
    error InvalidPayouts();
    error ProposalPending(bytes32 questionId);
    error NoProposal(bytes32 questionId);
    error AlreadyDisputed(bytes32 questionId);
    error NotDisputed(bytes32 questionId);
    error ProposerCannotDispute();
    error ChallengePeriodOver(uint256 expiresAt);
    error ChallengePeriodOpen(uint256 expiresAt);
    error NotInCommitPeriod();
    error NotInRevealPeriod();
    error VotingOpen(uint256 revealEndsAt);
    error AlreadyCommitted(address voter);
    error RevealMismatch(address voter);
    error ProposalStale(bytes32 questionId);

    constructor(IConditionalTokens conditionalTokens_, IERC20 aurum_, address admin) {
        conditionalTokens = conditionalTokens_;
        aurum = aurum_;
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    function registerQuestion(bytes32 questionId, uint256 outcomeSlotCount, bool isBinary) external {
        if (!hasRole(REGISTRAR_ROLE, msg.sender) && !hasRole(DEFAULT_ADMIN_ROLE, msg.sender)) {
            revert NotRegistrar(msg.sender);
        }
        if (_questions[questionId].outcomeSlotCount != 0) revert AlreadyRegistered(questionId);
        if (outcomeSlotCount < 2 || outcomeSlotCount > 256) revert InvalidOutcomeCount(outcomeSlotCount);
        _questions[questionId].outcomeSlotCount = outcomeSlotCount;
        _questions[questionId].isBinary = isBinary;
        emit QuestionRegistered(questionId, outcomeSlotCount, isBinary);
    }

    /// @notice Stakes 100 AURUM on `payouts`. A stale proposal is replaced, and its stakes go back to their owners.
    function proposeOutcome(bytes32 questionId, uint256[] calldata payouts) external {
        Question storage question = _openQuestion(questionId);
        _checkPayouts(payouts, question.outcomeSlotCount);
        if (_proposals[questionId].proposer != address(0)) {
            if (!isProposalStale(questionId)) revert ProposalPending(questionId);
            _refundStakes(questionId);
            delete _proposals[questionId];
        }
        question.round++;

        Proposal storage proposal = _proposals[questionId];
        proposal.proposer = msg.sender;
        proposal.payouts = payouts;
        proposal.stake = STAKE;
        proposal.proposedAt = block.timestamp;
        proposal.expiresAt =
            block.timestamp + (question.isBinary ? BINARY_CHALLENGE_PERIOD : CATEGORICAL_CHALLENGE_PERIOD);
        aurum.safeTransferFrom(msg.sender, address(this), STAKE);
        emit OutcomeProposed(questionId, msg.sender, payouts, STAKE, proposal.expiresAt);
    }

    /// @notice Stakes 100 AURUM on other payouts than the proposal's, before its challenge period is over.
    function disputeProposal(bytes32 questionId, uint256[] calldata payouts) external {
        Question storage question = _openQuestion(questionId);
        Proposal storage proposal = _openProposal(questionId);
        _checkPayouts(payouts, question.outcomeSlotCount);
        if (proposal.disputer != address(0)) revert AlreadyDisputed(questionId);
        if (msg.sender == proposal.proposer) revert ProposerCannotDispute();
        if (block.timestamp >= proposal.expiresAt) revert ChallengePeriodOver(proposal.expiresAt);
        if (_same(payouts, proposal.payouts)) revert InvalidPayouts();

        proposal.disputer = msg.sender;
        proposal.disputePayouts = payouts;
        proposal.disputeStake = STAKE;
        proposal.disputedAt = block.timestamp;
        proposal.commitEndsAt = block.timestamp + COMMIT_PERIOD;
        proposal.revealEndsAt = proposal.commitEndsAt + REVEAL_PERIOD;
        aurum.safeTransferFrom(msg.sender, address(this), STAKE);
        emit ProposalDisputed(questionId, msg.sender, payouts, STAKE);
    }

    /// @param commitHash keccak256(abi.encode(questionId, payouts, salt))
    function commitVote(bytes32 questionId, bytes32 commitHash) external {
        Question storage question = _openQuestion(questionId);
        Proposal storage proposal = _disputedProposal(questionId);
        if (block.timestamp >= proposal.commitEndsAt) revert NotInCommitPeriod();
        mapping(address voter => bytes32) storage round = commitments[questionId][question.round];
        if (round[msg.sender] != bytes32(0)) revert AlreadyCommitted(msg.sender);
        round[msg.sender] = commitHash;
        emit VoteCommitted(questionId, msg.sender, commitHash);
    }

    /// @notice Counts the voter's AURUM balance of this moment for the side that the commitment names.
    function revealVote(bytes32 questionId, uint256[] calldata payouts, bytes32 salt) external {
        Question storage question = _openQuestion(questionId);
        Proposal storage proposal = _disputedProposal(questionId);
        if (block.timestamp < proposal.commitEndsAt || block.timestamp >= proposal.revealEndsAt) {
            revert NotInRevealPeriod();
        }
        mapping(address voter => bytes32) storage round = commitments[questionId][question.round];
        if (round[msg.sender] != keccak256(abi.encode(questionId, payouts, salt))) revert RevealMismatch(msg.sender);
        delete round[msg.sender];

        uint256 weight = aurum.balanceOf(msg.sender);
        if (_same(payouts, proposal.payouts)) proposal.proposalWeight += weight;
        else if (_same(payouts, proposal.disputePayouts)) proposal.disputeWeight += weight;
        else revert InvalidPayouts();
        emit VoteRevealed(questionId, msg.sender, payouts, weight);
    }

    /// @notice Reports the standing payouts to ConditionalTokens; the winner takes both stakes.
    function finalizeProposal(bytes32 questionId) external {
        Question storage question = _openQuestion(questionId);
        Proposal storage proposal = _openProposal(questionId);
        bool disputed = proposal.disputer != address(0);
        if (!disputed && block.timestamp < proposal.expiresAt) revert ChallengePeriodOpen(proposal.expiresAt);
        if (disputed && block.timestamp < proposal.revealEndsAt) revert VotingOpen(proposal.revealEndsAt);

        question.resolved = true;
        // A tie, no votes at all included, leaves the proposal standing.
        bool disputeWon = proposal.disputeWeight > proposal.proposalWeight;
        uint256[] memory payouts = disputeWon ? proposal.disputePayouts : proposal.payouts;
        conditionalTokens.reportPayouts(questionId, payouts);
        emit QuestionResolved(questionId, payouts);
        aurum.safeTransfer(
            disputeWon ? proposal.disputer : proposal.proposer, proposal.stake + proposal.disputeStake
        );
    }

    /// @notice Ends a question without an answer: equal payouts, stakes go back to their owners.
    function voidQuestion(bytes32 questionId) external onlyRole(DEFAULT_ADMIN_ROLE) {
        Question storage question = _openQuestion(questionId);
        question.resolved = true;
        question.voided = true;
        uint256[] memory payouts = new uint256[](question.outcomeSlotCount);
        for (uint256 i = 0; i < payouts.length; i++) {
            payouts[i] = PAYOUT_UNIT / payouts.length;
        }
        conditionalTokens.reportPayouts(questionId, payouts);
        emit QuestionVoided(questionId);
        _refundStakes(questionId);
    }

    /// @notice The question's latest proposal and state; proposer is zero while there is none.
    function getProposal(bytes32 questionId) external view returns (Proposal memory proposal) {
        Question storage question = _questions[questionId];
        if (question.outcomeSlotCount == 0) revert UnknownQuestion(questionId);
        proposal = _proposals[questionId];
        proposal.outcomeSlotCount = question.outcomeSlotCount;
        proposal.isBinary = question.isBinary;
        proposal.resolved = question.resolved;
        proposal.voided = question.voided;
    }

    /// @notice True when an unresolved proposal is older than 7 days: it can only be replaced or voided.
    function isProposalStale(bytes32 questionId) public view returns (bool) {
        uint256 proposedAt = _proposals[questionId].proposedAt;
        return proposedAt != 0 && !_questions[questionId].resolved && block.timestamp > proposedAt + STALE_AFTER;
    }

    function _refundStakes(bytes32 questionId) private {
        Proposal storage proposal = _proposals[questionId];
        if (proposal.proposer != address(0)) aurum.safeTransfer(proposal.proposer, proposal.stake);
        if (proposal.disputer != address(0)) aurum.safeTransfer(proposal.disputer, proposal.disputeStake);
    }

    function _openQuestion(bytes32 questionId) private view returns (Question storage question) {
        question = _questions[questionId];
        if (question.outcomeSlotCount == 0) revert UnknownQuestion(questionId);
        if (question.resolved) revert AlreadyResolved(questionId);
    }

    function _openProposal(bytes32 questionId) private view returns (Proposal storage proposal) {
        proposal = _proposals[questionId];
        if (proposal.proposer == address(0)) revert NoProposal(questionId);
        if (isProposalStale(questionId)) revert ProposalStale(questionId);
    }

    function _disputedProposal(bytes32 questionId) private view returns (Proposal storage proposal) {
        proposal = _openProposal(questionId);
        if (proposal.disputer == address(0)) revert NotDisputed(questionId);
    }

    function _checkPayouts(uint256[] calldata payouts, uint256 outcomeSlotCount) private pure {
        if (payouts.length != outcomeSlotCount) revert InvalidPayouts();
        uint256 sum = 0;
        for (uint256 i = 0; i < payouts.length; i++) {
            if (payouts[i] > PAYOUT_UNIT) revert InvalidPayouts();
            sum += payouts[i];
        }
        if (sum == 0 || sum > PAYOUT_UNIT) revert InvalidPayouts();
    }

    function _same(uint256[] calldata a, uint256[] memory b) private pure returns (bool) {
        return keccak256(abi.encode(a)) == keccak256(abi.encode(b));
    }
}

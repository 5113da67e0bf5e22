"""An example for the OpenAPI document: a proposal that is disputed, and voted on."""

USER, OTHER = "0x" + "1a" * 20, "0x" + "2b" * 20
QUESTION = {
    "id": "5b1c2d3e-4f50-5617-8a9b-0c1d2e3f4a5b",
    "questionId": "0x" + "cd" * 32,
    "marketId": "0x" + "ab" * 32,
    "market": {
        "marketId": "0x" + "ab" * 32,
        "question": "Will it rain in Lisbon tomorrow?",
        "outcomes": ["Yes", "No"],
        "metadata": {
            "category": "Weather",
            "description": "At least 1 mm at the airport's station.",
            "imageUrl": "",
            "resolutionSource": "https://www.ipma.pt",
        },
    },
    "outcomeSlotCount": 2,
    "isBinary": True,
    "state": "revealing",
    "proposal": {
        "proposer": USER,
        "payouts": ["1", "0"],
        "stake": "1000000000000000000",
        "proposedAt": "2026-03-01T00:00:00Z",
        "expiresAt": "2026-03-02T00:00:00Z",
    },
    "dispute": {
        "disputer": OTHER,
        "payouts": ["0", "1"],
        "stake": "1000000000000000000",
        "disputedAt": "2026-03-01T06:00:00Z",
    },
    "votes": [
        {
            "voter": USER,
            "commitHash": "0x" + "9e" * 32,
            "payouts": ["1", "0"],
            "weight": "2500000000000000000",
            "committedAt": "2026-03-01T12:00:00Z",
            "revealedAt": "2026-03-02T12:00:00Z",
        }
    ],
    "tally": [{"payouts": ["1", "0"], "weight": "2500000000000000000", "side": "proposal"}],
    "leading": "proposal",
    "payouts": None,
    "deadlines": {
        "challenge": "2026-03-02T00:00:00Z",
        "commit": "2026-03-02T06:00:00Z",
        "reveal": "2026-03-03T06:00:00Z",
        "stale": "2026-03-31T00:00:00Z",
    },
    "availableActions": ["reveal", "void"],
    "actors": [
        {"action": "reveal", "who": "committed_voters", "stake": None},
        {"action": "void", "who": "oracle_admin", "stake": None},
    ],
    "timeline": [
        {
            "event": "QuestionRegistered",
            "blockNumber": 12345678,
            "transactionHash": "0x" + "7d" * 32,
            "logIndex": 2,
            "timestamp": "2026-01-01T00:00:00Z",
        }
    ],
    "anomalies": [
        {
            "event": "OutcomeProposed",
            "problem": "a challenge period of 86400 s, where 7200 s is a binary question's",
            "blockNumber": 12345700,
            "transactionHash": "0x" + "7e" * 32,
            "logIndex": 4,
            "timestamp": "2026-03-01T00:00:00Z",
        }
    ],
    "registeredAt": "2026-01-01T00:00:00Z",
    "updatedAt": "2026-03-02T12:00:00Z",
}

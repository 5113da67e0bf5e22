// SPDX-License-Identifier: LGPL-3.0-only
pragma solidity ^0.8.24;

/// @notice Emits any log it is told to: look-alikes of other contracts' events, and malformed ones.
contract LogEmitter {
    error TooManyTopics(uint256 count);

    function emitLog(bytes32[] calldata topics, bytes calldata data) external {
        if (topics.length > 4) revert TooManyTopics(topics.length);
        bytes memory body = data;
        assembly ("memory-safe") {
            let from := add(body, 0x20)
            let size := mload(body)
            let topic := topics.offset
            switch topics.length
            case 0 { log0(from, size) }
            case 1 { log1(from, size, calldataload(topic)) }
            case 2 { log2(from, size, calldataload(topic), calldataload(add(topic, 0x20))) }
            case 3 {
                log3(
                    from, size, calldataload(topic), calldataload(add(topic, 0x20)), calldataload(add(topic, 0x40))
                )
            }
            case 4 {
                log4(
                    from,
                    size,
                    calldataload(topic),
                    calldataload(add(topic, 0x20)),
                    calldataload(add(topic, 0x40)),
                    calldataload(add(topic, 0x60))
                )
            }
        }
    }
}

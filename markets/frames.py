"""What goes out on WebSockets: JSON text, encoded once for however many connections."""

import json
from collections.abc import Mapping
from typing import Any


class Frame:
    """One message. Of a channel it has the `channel` and `seq`, and stands for those from `first` on; an answer has
    neither. `wire` is the unmasked text frame of RFC 6455, section 5.2, as every uncompressed connection gets it.
    """

    __slots__ = ("channel", "first", "seq", "text", "wire")

    def __init__(self, text: str, *, channel: str = "", seq: int = 0, first: int | None = None) -> None:
        self.text = text
        self.channel = channel
        self.seq = seq
        self.first = seq if first is None else first
        payload = text.encode()
        self.wire = _head(len(payload)) + payload

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> "Frame":
        """In ASCII: an `id` of a client's may hold half a surrogate pair, which no frame can carry as it is."""
        return cls(json.dumps(message, separators=(",", ":")))

    def standing_for(self, first: int) -> "Frame":
        """This message in place of those of its channel from `first` on, which are not sent."""
        if first == self.first:
            return self
        text = f'{self.text[:-1]},"skipped":[{first},{self.seq - 1}]}}'
        return Frame(text, channel=self.channel, seq=self.seq, first=first)


def _head(length: int) -> bytes:
    """FIN and the opcode of text; the length in 7, 16 or 64 bits."""
    if length < 126:
        return bytes((0x81, length))
    if length < 2**16:
        return b"\x81\x7e" + length.to_bytes(2)
    return b"\x81\x7f" + length.to_bytes(8)

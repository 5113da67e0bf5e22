"""What goes out on WebSockets: JSON text, encoded once for however many connections."""

import json
from collections.abc import Mapping
from typing import Any


class Frame:
    """One message. Of a channel it has the `channel` and `seq`, and stands for those from `first` on; an answer has
    neither.
    """

    __slots__ = ("_wire", "channel", "first", "seq", "text")

    def __init__(self, text: str, *, channel: str = "", seq: int = 0, first: int | None = None) -> None:
        self.text = text
        self.channel = channel
        self.seq = seq
        self.first = seq if first is None else first
        self._wire: bytes | None = None

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> "Frame":
        """In ASCII: an `id` of a client's may hold half a surrogate pair, which no frame can carry as it is."""
        return cls(json.dumps(message, separators=(",", ":")))

    @property
    def wire(self) -> bytes:
        """The unmasked text frame of RFC 6455, section 5.2, as every uncompressed connection gets it."""
        if self._wire is None:
            payload = self.text.encode()
            self._wire = _head(len(payload)) + payload
        return self._wire

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

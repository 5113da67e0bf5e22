"""The same bytes to many sockets by one system call: `io_submit` of Linux.

To sockets that do not block it writes at once, one after the other, as `write` does, and says what became of each. That
saves the event loop's way for each of them (docs/adr/0010-frames-by-io-submit.md). For the event loop's thread only.
"""

import ctypes
import logging
import platform
import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from functools import cache

logger = logging.getLogger(__name__)

# The numbers of io_setup, io_submit and io_getevents.
CALLS = {"x86_64": (206, 209, 208), "aarch64": (0, 2, 4)}
# Of linux/aio_abi.h, on little-endian processors. A request is a struct iocb: data, key, rw_flags, opcode, priority,
# descriptor, buffer, count, offset, and more. An answer is a struct io_event: data, request, result, and more.
REQUEST = struct.Struct("=QIIHhIQQqQII")
DATA, DESCRIPTOR = 0, 5  # which of its 32-bit words they are
ANSWER = 4  # words of 64 bits
ANSWERED, RESULT = 0, 2  # which of them are `data` and `result`
PWRITEV = 8  # the opcode for which `buffer` is so many struct iovec
MOST = 256  # requests at once; Linux has 65,536 for all processes, unless told otherwise


class Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_char_p), ("length", ctypes.c_size_t))


class Kernel:
    """This process' part of Linux. Raises OSError where it has none."""

    def __init__(self) -> None:
        if sys.platform != "linux" or platform.machine() not in CALLS:
            raise OSError("not on this platform")
        io_setup, self._io_submit, self._io_getevents = CALLS[platform.machine()]
        # With Python's lock held: to let go of it and get it back can take milliseconds where other threads are busy.
        python = ctypes.PyDLL(None, use_errno=True)
        number, context, count, pointer = ctypes.c_long, ctypes.c_ulong, ctypes.c_long, ctypes.c_void_p
        self._submit, self._get = python["syscall"], python["syscall"]
        self._submit.argtypes = (number, context, count, pointer)
        self._get.argtypes = (number, context, count, count, pointer, pointer)
        self._submit.restype = self._get.restype = ctypes.c_long
        self._answers = ctypes.create_string_buffer(MOST * ANSWER * 8)
        self._words = memoryview(self._answers).cast("B").cast("q")
        self._vector = Vector()
        self.vector_address = ctypes.addressof(self._vector)
        opened = context(0)
        if python.syscall(number(io_setup), count(MOST), ctypes.byref(opened)) != 0:
            raise OSError(ctypes.get_errno(), "io_setup")
        self._context = opened.value
        # Who allows the one may not allow the others.
        if (
            self._submit(self._io_submit, self._context, 0, None) != 0
            or self._get(self._io_getevents, self._context, 0, 0, None, None) != 0
        ):
            raise OSError(ctypes.get_errno(), "io_submit or io_getevents")

    def carry_out(self, requests: "array[int]", data: bytes) -> Iterator[tuple[int, int]]:
        """Writes these bytes by the requests at these addresses. Gives the `data` and result of each that did not write
        them all, and the place and 0 of each that was not looked at. Raises OSError where nobody can say what was.
        """
        self._vector.base, self._vector.length = data, len(data)
        address, count = requests.buffer_info()
        looked_at = max(0, self._submit(self._io_submit, self._context, count, address))
        # All have ended: this does not wait.
        if looked_at and looked_at != self._get(
            self._io_getevents, self._context, looked_at, looked_at, self._answers, None
        ):
            self._context = 0  # which is none: an answer that is left there must not be taken for a later one
            raise OSError(ctypes.get_errno(), "io_getevents")
        results = self._words[RESULT : looked_at * ANSWER : ANSWER].tolist()
        if results != [len(data)] * count:
            answered = self._words[ANSWERED : looked_at * ANSWER : ANSWER].tolist()
            yield from ((place, result) for place, result in zip(answered, results, strict=True) if result != len(data))
            yield from ((place, 0) for place in range(looked_at, count))


@cache
def kernel() -> Kernel | None:
    """None on another platform, and in a sandbox that does not allow it."""
    try:
        return Kernel()
    except OSError as error:
        logger.info("frames are written one by one: %s", error)
        return None


class Burst:
    """Up to MOST sockets that do not block, each once, by descriptors that whoever writes knows to be theirs still."""

    __slots__ = ("_addresses", "_kernel", "_requests")

    def __init__(self, kernel: Kernel, descriptors: Sequence[int]) -> None:
        count, size = len(descriptors), REQUEST.size
        if count > MOST:
            raise ValueError("too many")
        self._kernel = kernel
        request = REQUEST.pack(0, 0, 0, PWRITEV, 0, 0, kernel.vector_address, 1, 0, 0, 0, 0)
        self._requests = ctypes.create_string_buffer(request * count, count * size)
        words = memoryview(self._requests).cast("B").cast("I")
        words[DATA :: size // 4] = array("I", range(count))
        words[DESCRIPTOR :: size // 4] = array("I", descriptors)
        first = ctypes.addressof(self._requests)
        self._addresses = array("Q", range(first, first + count * size, size))

    def write(self, data: bytes) -> list[tuple[int, int]]:
        """Returns which places did not take all of it, with the bytes that they took: 0 in case of an error, too."""
        return [(place, max(0, result)) for place, result in self._kernel.carry_out(self._addresses, data)]


def burst(descriptors: Sequence[int | None]) -> Burst | None:
    """None where one of them has none, or Linux does not do it for us."""
    known = [descriptor for descriptor in descriptors if descriptor is not None]
    linux = kernel()
    return None if linux is None or len(known) < len(descriptors) else Burst(linux, known)

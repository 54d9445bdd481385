"""Messages between a service and its exporter, over a stream socket: four bytes of length, then the message."""

from typing import Final

LENGTH_BYTES: Final = 4
_ARRAY_32: Final = b"\xdd"
"""Of msgpack: an array, whose length follows in four bytes."""


def frame(message: bytes) -> bytes:
    """Return a message as it is sent."""
    return len(message).to_bytes(LENGTH_BYTES, "big") + message


def frame_of_array(items: list[bytes]) -> bytes:
    """Return packed values as one message: a packed array of them."""
    packed = b"".join(items)
    count = len(items).to_bytes(4, "big")
    return (len(packed) + 5).to_bytes(LENGTH_BYTES, "big") + _ARRAY_32 + count + packed


class Unframer:
    """Puts messages together again."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that are complete with these bytes."""
        buffer, found = self._buffer, list[bytes]()
        buffer += data
        while len(buffer) >= LENGTH_BYTES:
            end = LENGTH_BYTES + int.from_bytes(buffer[:LENGTH_BYTES], "big")
            if len(buffer) < end:
                break
            found.append(bytes(buffer[LENGTH_BYTES:end]))
            del buffer[:end]
        return found

"""Heads of posts that were read before: the same bytes say the same again.

Whoever sends alert after alert, and every proxy that passes them on, sends nearly the same head each time; to parse it
anew, callback by callback, costs more than all else that a connection does for a post. A head is known by every byte of
it, and only as the parser read it: from the first byte of a request to the empty line, with all of the body that it
announces behind it, and nothing more.
"""

from typing import Final

import msgspec

MAX_HEADS: Final = 256
MAX_HEAD_BYTES: Final = 2_048
"""Of one that is remembered. All of them take some megabytes at most."""

_END: Final = b"\r\n\r\n"


class Head(msgspec.Struct, frozen=True):
    """What the head of a post says that may come whole."""

    url: bytes
    """A plain path."""
    path: str
    """The same as text."""
    http_version: str
    headers: tuple[tuple[bytes, bytes], ...]
    """Names in lower case. Requests share them, so nobody may change them."""
    keep_alive: bool
    """Whether the connection stays open after the answer."""
    length: int
    """Of its body, bytes."""


class KnownHeads:
    """The heads that the connections of one server have read."""

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}

    def find(self, data: bytes) -> tuple[Head, bytes] | None:
        """Return the head of a request and its body; None where the head is not known, or not all of the body is there,
        or more than that.
        """
        written, _, body = data.partition(_END)
        head = self._heads.get(written)
        return None if head is None or head.length != len(body) else (head, body)

    def learn(self, data: bytes, head: Head) -> None:
        """Remember a head, if nothing but its request came.

        Args:
            data: What came, from the first byte of a request on.
            head: Of the last request that the parser found in it.
        """
        written, _, body = data.partition(_END)
        # The head itself must tell the length, and of several requests more than a body is behind the first head. Without a
        # body a head would also be known where its end is missing.
        is_announced = (b"content-length", b"%d" % len(body)) in head.headers
        if not body or not is_announced or len(written) > MAX_HEAD_BYTES:
            return
        # Whatever else went wrong, no head stands for a request to another address.
        if not written.startswith(b"POST %b HTTP/" % head.url):
            return
        if len(self._heads) >= MAX_HEADS:
            self._heads.clear()
        self._heads[written] = head

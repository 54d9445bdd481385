"""Requests that came whole, head and body in one read: they need no task of their own to be answered.

A task, ASGI's messages and uvicorn's checks of them cost as much as all that an alert means.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

if TYPE_CHECKING:
    from libs.common.web.protocol import Connection

_OK: Final = STATUS_LINE[200]
_CLOSE: Final = b"connection: close\r\n"


class WholeRequest(msgspec.Struct, eq=False):
    """A POST, to be answered at once, later by a callback, or by the app; made for each, so a `Struct`.

    It stands where uvicorn keeps the request under way, and has what uvicorn asks of that.
    """

    more_body: ClassVar = False
    response_started: ClassVar = False

    connection: "Connection"
    """That it came on."""
    scope: dict[str, Any]
    """As ASGI has it."""
    body: bytes
    """All of it."""
    keep_alive: bool
    """Whether the connection stays open after the answer."""
    disconnected: bool = False
    response_complete: bool = False

    # It holds credentials, and loops log the arguments of a callback that failed.
    __repr__ = object.__repr__

    @property
    def message_event(self) -> "WholeRequest":
        """Return what uvicorn wakes when the sender has left: nobody waits."""
        return self

    def set(self) -> None:
        """Wake nobody."""

    def answer(self, lines: bytes, body: bytes) -> None:
        """Answer 200, in one write.

        Args:
            lines: The headers of the answer, each with its end of line; its length must be among them.
            body: The body of the answer.
        """
        self.response_complete = True
        if self.disconnected:
            return
        connection = self.connection
        close = b"" if self.keep_alive else _CLOSE
        connection.transport.write(b"".join((_OK, connection.default_lines(), lines, close, b"\r\n", body)))
        if close:
            connection.transport.close()
        connection.on_response_complete()

    def hand_over(self) -> None:
        """Leave it to the app, in a task of its own, as if it had not been taken; nothing once it is answered."""
        if not self.response_complete:
            self.connection.run_app(self)

"""Requests that came whole, head and body in one read: they need no task of their own to be answered.

A task, ASGI's messages and uvicorn's checks of them cost as much as all that an alert means.
"""

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

if TYPE_CHECKING:
    from libs.common.web.protocol import Connection

_OK: Final = STATUS_LINE[200]
_CLOSE: Final = b"connection: close\r\n"


class WholeRequest:
    """A POST, to be answered at once, later by a callback, or by the app.

    It stands where uvicorn keeps the request under way, and has what uvicorn asks of that.
    """

    __slots__ = ("_connection", "body", "disconnected", "keep_alive", "response_complete", "scope")

    more_body: Final = False
    response_started: Final = False

    def __init__(
        self, connection: "Connection", scope: dict[str, Any], body: bytes, *, keep_alive: bool
    ) -> None:
        """Args:
        connection: That it came on.
        scope: As ASGI has it.
        body: All of it.
        keep_alive: Whether the connection stays open after the answer.
        """
        self._connection = connection
        self.scope = scope
        self.body = body
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False

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
        connection = self._connection
        close = b"" if self.keep_alive else _CLOSE
        connection.transport.write(b"".join((_OK, connection.default_lines(), lines, close, b"\r\n", body)))
        if close:
            connection.transport.close()
        connection.on_response_complete()

    def hand_over(self) -> None:
        """Leave it to the app, in a task of its own, as if it had not been taken; nothing once it is answered."""
        if not self.response_complete:
            self._connection.run_app(self)

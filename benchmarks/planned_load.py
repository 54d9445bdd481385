"""An open-loop load: every alert has a moment at which it is due, whatever became of those before it.

A sender that waits for answers sends less while the server is slow, and so never sees how slow it was. Here a post that
finds every connection busy waits, and its time counts from when it was due.
"""

import json
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from benchmarks.load import is_whole
from tests.support.children import spawn
from tests.support.tree import ROOT

LEAD_S = 0.05
"""From the opening of the connections to the first post."""


@dataclass(frozen=True)
class Planned:
    """One post that is to be made."""

    due_us: int
    """After the start."""
    path: str
    body: bytes


@dataclass(frozen=True)
class Posted:
    """What became of one post; times in microseconds since the epoch."""

    due_us: int
    sent_us: int
    acked_us: int
    status: int
    """0 where the connection broke."""
    alert_id: str


@dataclass(frozen=True)
class Posts:
    """All posts of a run, in the order in which they were planned."""

    posted: list[Posted]
    client_share: float
    """Of one core; near 1 the client was late by itself."""

    def require_all_taken(self) -> None:
        """Check that each was answered 200.

        Raises:
            RuntimeError: One was not: nothing is lost silently here, and a benchmark of refusals means nothing.
        """
        wrong = [post for post in self.posted if post.status != 200]
        if wrong:
            raise RuntimeError(f"{len(wrong)} of {len(self.posted)} alerts were not taken, first {wrong[0]}")


def post_as_planned(port: int, planned: Sequence[Planned], *, connections: int) -> Posts:
    """Post from a process of its own, on the cores of the caller, and return once all are answered.

    Args:
        port: Of 127.0.0.1.
        planned: By time.
        connections: Opened beforehand; so many posts may be under way at once.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".json") as plan:
        json.dump([(post.due_us, post.path, post.body.decode()) for post in planned], plan)
        plan.flush()
        process = spawn(
            [sys.executable, "-m", "benchmarks.planned_load", str(port), str(connections), plan.name],
            stdout=subprocess.PIPE,
            stderr=None,
            directory=ROOT,
        )
        written, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the load ended with {process.returncode}")
    seen: dict[str, Any] = json.loads(written)
    return Posts([Posted(*entry) for entry in seen["posts"]], seen["client_share"])


class _Client:
    """One thread and one epoll. `select` waits for the epoll itself: its time-outs are exact to the microsecond."""

    def __init__(self, port: int, plan: Sequence[tuple[int, str, str]], connections: int) -> None:
        self._requests = [(due_us * 1_000, _request(path, body.encode())) for due_us, path, body in plan]
        self._posted: list[Posted | None] = [None] * len(plan)
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._busy: dict[int, tuple[int, int, int]] = {}
        self._came: dict[int, bytes] = {}
        for _ in range(connections):
            one = socket.create_connection(("127.0.0.1", port))
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets[one.fileno()] = one
            self._poll.register(one, select.EPOLLIN)
        self._free = deque(self._sockets)

    def run(self) -> dict[str, Any]:
        started_ns = time.monotonic_ns() + int(LEAD_S * 1e9)
        used_s = time.process_time()
        following, count = 0, len(self._requests)
        while following < count or self._busy:
            while following < count and self._free:
                due_ns, request = self._requests[following]
                late_ns = time.monotonic_ns() - started_ns - due_ns
                if late_ns < 0:
                    break
                number = self._free.popleft()
                # What the send itself takes is the server's time already. Paced by the clock that nobody sets, noted
                # by the one that all processes of the machine share.
                sent_ns = time.time_ns()
                self._busy[number], self._came[number] = (following, sent_ns - late_ns, sent_ns), b""
                self._sockets[number].sendall(request)
                following += 1
            wait_s = 1.0
            if following < count and self._free:
                wait_s = max(0.0, (self._requests[following][0] + started_ns - time.monotonic_ns()) / 1e9)
            elif following < count and not self._busy:
                raise ConnectionError("every connection was closed by the server")
            if select.select([self._poll.fileno()], [], [], wait_s)[0]:
                for number, _ in self._poll.poll(0):
                    self._take(number)
        elapsed_s = (time.monotonic_ns() - started_ns) / 1e9 + LEAD_S
        return {
            "posts": [astuple(post) for post in self._posted if post is not None],
            "client_share": (time.process_time() - used_s) / elapsed_s,
        }

    def _take(self, number: int) -> None:
        part = self._sockets[number].recv(4_096)
        acked_ns = time.time_ns()
        answer = self._came[number] = self._came.get(number, b"") + part
        head, _, body = answer.partition(b"\r\n\r\n")
        if part and not is_whole(answer):
            return
        if part:
            self._free.append(number)
        else:
            self._poll.unregister(self._sockets[number])
            if number in self._free:
                self._free.remove(number)
        if number in self._busy:
            index, due_ns, sent_ns = self._busy.pop(number)
            alert_id = body.partition(b'"alert_id":"')[2].partition(b'"')[0].decode()
            status = int(head[9:12]) if part else 0
            self._posted[index] = Posted(
                due_ns // 1_000, sent_ns // 1_000, acked_ns // 1_000, status, alert_id
            )


def _request(path: str, body: bytes) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json")
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def main() -> None:
    """Carry out the plan in a file, and print what became of it."""
    port, connections, plan = int(sys.argv[1]), int(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text())
    print(json.dumps(_Client(port, plan, connections).run()))


if __name__ == "__main__":
    main()

"""The load: keep-alive connections that post alerts, each unique, as fast as they are answered."""

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.children import spawn
from tests.support.tree import ROOT

SYMBOLS = 100
SECRET = "benchmark-secret"  # of servers that live for seconds
WRK_SCRIPT = Path(__file__).with_name("alerts.lua")


@dataclass(frozen=True)
class Load:
    """What a run of the load saw."""

    requests: int
    seconds: float
    failures: int
    """Answers other than 2xx, and broken connections."""
    p50_ms: float
    p99_ms: float
    client_share: float
    """Of one core; at 1 the client, not the server, was measured."""

    @property
    def per_s(self) -> float:
        """Return the answers in a second."""
        return self.requests / self.seconds


def client_name() -> str:
    """Return which client posts: wrk where it is installed, else our own."""
    return "wrk" if shutil.which("wrk") else "python epoll client"


def post(
    port: int, run: str, *, connections: int, seconds: int, path: str = "/webhook", secret: str = SECRET
) -> Load:
    """Post for some seconds from a process of its own, on the cores of the caller.

    Args:
        port: Of 127.0.0.1.
        run: Part of every alert's id: no two runs may share it.
        connections: How many post at once.
        seconds: How long.
        path: Where to.
        secret: In the body.
    """
    words = [path, run, secret, str(SYMBOLS)]
    if wrk := shutil.which("wrk"):
        command = [
            wrk,
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout",
            "10s",
            "-s",
            str(WRK_SCRIPT),
        ]
        command += [f"http://127.0.0.1:{port}", "--", *words]
    else:
        command = [sys.executable, "-m", "benchmarks.load", str(port), str(connections), str(seconds), *words]
    # Ended by Ctrl-C or SIGTERM, we take it with us.
    process = spawn(command, stdout=subprocess.PIPE, stderr=None, directory=ROOT)
    assert process.stdout is not None
    written = process.stdout.read().decode()
    process.stdout.close()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {written}")
    seen: dict[str, Any] = json.loads(next(line for line in written.splitlines() if line.startswith("{")))
    return Load(**seen, client_share=(used.ru_utime + used.ru_stime) / seen["seconds"])


def main() -> None:
    """Do what wrk does, for machines without it: one epoll, blocking sends of prepared bytes."""
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    requests = _requests(*sys.argv[4:7], symbols=int(sys.argv[7]))
    poll = select.epoll()
    sockets: dict[int, socket.socket] = {}
    sent_s: dict[int, float] = {}
    came: dict[int, bytes] = {}
    took_s: list[float] = []
    failures = 0
    for _ in range(connections):
        one = socket.create_connection(("127.0.0.1", port))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets[one.fileno()] = one
        poll.register(one, select.EPOLLIN)
    clock = time.perf_counter
    started_s = clock()
    for number, one in sockets.items():
        came[number], sent_s[number] = b"", clock()
        one.sendall(next(requests))
    ends_s = started_s + seconds
    while clock() < ends_s and sockets:
        for number, _ in poll.poll(1):
            one = sockets[number]
            part = one.recv(4_096)
            answer = came[number] = came[number] + part
            if part and not is_whole(answer):
                continue
            now_s = clock()
            took_s.append(now_s - sent_s[number])
            if not answer.startswith(b"HTTP/1.1 2"):
                failures += 1
            if not part:
                poll.unregister(one)
                del sockets[number]
                continue
            came[number], sent_s[number] = b"", now_s
            one.sendall(next(requests))
    elapsed_s = clock() - started_s
    took_s.sort()
    count = len(took_s)
    seen = {"requests": count, "seconds": elapsed_s, "failures": failures}
    seen |= {"p50_ms": took_s[count // 2] * 1e3, "p99_ms": took_s[count * 99 // 100] * 1e3}
    print(json.dumps(seen))


def is_whole(answer: bytes) -> bool:
    """Tell whether an HTTP answer with a length is there in full."""
    head, end, body = answer.partition(b"\r\n\r\n")
    return bool(end) and len(body) >= int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])


def _requests(path: str, run: str, secret: str, *, symbols: int) -> Iterator[bytes]:
    """Yield requests like those of `alerts.lua`."""
    count = 0
    while True:
        count += 1
        body = (
            f'{{"secret":"{secret}","id":"bench-{run}-{count:09d}","symbol":"SYM{count % symbols:05d}",'
            '"action":"buy","quantity":"0.5","price":"64250.5"}'
        )
        yield (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()


if __name__ == "__main__":
    main()

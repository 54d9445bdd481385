"""What Redis itself carries: the least that is durable on the way in, and the least that is a queue on the way out.

`python -m benchmarks.limits <in|out> SOCKET ...` runs one of them, by itself on whatever core it is started on.
"""

import json
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import hiredis

from benchmarks.cores import running_on
from tests.support.children import spawn
from tests.support.redis_server import RedisServer
from tests.support.tree import ROOT

STREAM, GROUP = b"bench:raw", b"workers"
BODY = (
    b'{"secret":"***","id":"bench-%09d","symbol":"SYM%05d","action":"buy","quantity":"0.5","price":"64250.5"}'
)
SYMBOLS = 100
FILLED_AT_ONCE = 1_000


@dataclass(frozen=True)
class Limit:
    """What one loop against Redis came to."""

    count: int
    seconds: float
    client_us: float
    """Processor time of the loop for each entry."""

    @property
    def per_s(self) -> float:
        """Return the entries in a second."""
        return self.count / self.seconds


def raw_in(redis: RedisServer, core: int, *, batch: int, seconds: float) -> Limit:
    """Add alerts to one stream for some seconds, so many in each round trip and fsync."""
    return _run(redis, core, "in", str(batch), str(seconds))


def raw_out(redis: RedisServer, core: int, *, batch: int, count: int) -> Limit:
    """Fill a stream, then read, acknowledge and delete all of it, so many entries in each round trip and fsync."""
    return _run(redis, core, "out", str(batch), str(count))


def _run(redis: RedisServer, core: int, *words: str) -> Limit:
    with redis.client() as client:
        client.delete(STREAM)
    command = [sys.executable, "-m", "benchmarks.limits", words[0], str(redis.path), *words[1:]]
    with running_on(frozenset({core})):
        process = spawn(command, stdout=subprocess.PIPE, stderr=None, directory=ROOT)
    written, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the loop against Redis ended with {process.returncode}")
    with redis.client() as client:
        client.delete(STREAM)
    return Limit(**json.loads(written))


class _Wire:
    """A blocking connection that packs nothing twice and reads nothing that nobody wants."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._reader = hiredis.Reader()

    def ask(self, commands: list[bytes]) -> list[Any]:
        """Send commands in one write and return their answers."""
        self._socket.sendall(b"".join(commands))
        answers: list[Any] = []
        while len(answers) < len(commands):
            answer = self._reader.gets()
            if answer is False:
                self._reader.feed(self._socket.recv(1 << 20))
                continue
            if isinstance(answer, Exception):
                raise answer
            answers.append(answer)
        return answers


def _packed(*words: bytes) -> bytes:
    # Its type says that it takes one word.
    pack: Any = hiredis.pack_command
    packed: bytes = pack(words)
    return packed


def _adding(number: int) -> bytes:
    return _packed(b"XADD", STREAM, b"*", b"alert", BODY % (number, number % SYMBOLS))


def _in(wire: _Wire, batch: int, seconds: float) -> dict[str, float]:
    count, started_s, used_s = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - started_s < seconds:
        wire.ask([_adding(number) for number in range(count, count + batch)])
        count += batch
    return _told(count, started_s, used_s)


def _out(wire: _Wire, batch: int, count: int) -> dict[str, float]:
    for start in range(0, count, FILLED_AT_ONCE):
        wire.ask([_adding(number) for number in range(start, min(start + FILLED_AT_ONCE, count))])
    wire.ask([_packed(b"XGROUP", b"CREATE", STREAM, GROUP, b"0")])
    reading = _packed(
        b"XREADGROUP", b"GROUP", GROUP, b"one", b"COUNT", b"%d" % batch, b"STREAMS", STREAM, b">"
    )
    done, started_s, used_s = 0, time.perf_counter(), time.process_time()
    ending: list[bytes] = []
    while True:
        read = wire.ask([*ending, reading])[-1]
        if not read:
            break
        ids = [entry[0] for entry in read[0][1]]
        done += len(ids)
        ending = [
            _packed(b"XACK", STREAM, GROUP, *ids),
            _packed(b"XDEL", STREAM, *ids),
        ]
    if done != count:
        raise RuntimeError(f"{count} entries were added, {done} were read")
    return _told(count, started_s, used_s)


def _told(count: int, started_s: float, used_s: float) -> dict[str, float]:
    return {
        "count": count,
        "seconds": time.perf_counter() - started_s,
        "client_us": (time.process_time() - used_s) / count * 1e6,
    }


def main() -> None:
    """Run one loop and print what it came to."""
    wire, batch = _Wire(sys.argv[2]), int(sys.argv[3])
    told = (
        _in(wire, batch, float(sys.argv[4])) if sys.argv[1] == "in" else _out(wire, batch, int(sys.argv[4]))
    )
    print(json.dumps(told))


if __name__ == "__main__":
    main()

"""Free TCP ports on the loopback address."""

import random
import socket
from typing import Final

_RANGE: Final = range(12_000, 20_000)
"""Below the ephemeral range, so that no outgoing connection takes a port between the choice and the bind; and so is what
lies 10,000 above, where nodes of a cluster listen for one another."""

_BLOCK: Final = 50
"""Ports that a process claims at a time."""

_left: list[int] = []
_random = random.SystemRandom()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on and that no living process was given here before.

    So a server may be killed and started again on its port, whatever else is tested on this machine at the time.
    """
    while True:
        if not _left:
            _left.extend(_claim())
        port = _left.pop(0)
        if _is_free(port):
            return port


def free_ports(count: int) -> list[int]:
    """Return as many neighbouring ones, `_BLOCK` at most, in ascending order."""
    while True:
        block = _claim()
        for start in range(len(block) - count + 1):
            ports = block[start : start + count]
            if all(_is_free(port) for port in ports):
                _left.extend(block[start + count :])
                return ports


def _claim() -> list[int]:
    """Return a block of ports that is this process's until it ends.

    Raises:
        RuntimeError: Living processes have claimed all.
    """
    firsts = list(range(_RANGE.start, _RANGE.stop, _BLOCK))
    _random.shuffle(firsts)
    for first in firsts:
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0bascule-test-ports-{first}")
        except OSError:
            claim.close()
            continue
        claim.detach()  # stays open: the kernel lets go of the name when this process ends, however it does
        return list(range(first, first + _BLOCK))
    raise RuntimeError(f"living processes have claimed every block of {_RANGE}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

"""Free TCP ports on the loopback address."""

import random
import socket

_RANGE = range(12_000, 30_000)
"""Below the ephemeral range, so that no outgoing connection takes a port between the choice and the bind."""

_given: set[int] = set()
_random = random.SystemRandom()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on and that this process has not given out before."""
    for _ in range(1_000):
        port = _random.choice(_RANGE)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError(f"no free port in {_RANGE}")

"""Become another program that gets a signal when its parent dies, however it dies.

Run as a file, since a fresh interpreter that imports nothing starts in 15 ms:
`python -I -S pdeathsig.py SIGNAL PARENT_PID PROGRAM ARGUMENT...`. The setting outlives exec. The kernel ties it to the
thread that made the process, so only a thread that lives as long as its process may start programs this way.
"""

import ctypes
import os
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1


def wrap(command: Sequence[str], signal_number: int) -> list[str]:
    """Return the command line that runs `command` so that it gets the signal when this process ends."""
    return [sys.executable, "-I", "-S", __file__, str(int(signal_number)), str(os.getpid()), *command]


def main(arguments: list[str]) -> None:
    """Ask the kernel for the signal, then become the program."""
    signal_number, parent = int(arguments[0]), int(arguments[1])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number)
        if os.getppid() != parent:  # it died before the call above
            sys.exit(1)
    try:
        os.execvp(arguments[2], arguments[2:])  # noqa: S606 - a list from our own launcher
    except OSError as error:
        sys.exit(f"{arguments[2]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])

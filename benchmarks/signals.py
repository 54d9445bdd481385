"""A clean end by Ctrl-C or SIGTERM: what was started is ended and removed on the way out."""

import signal
import sys
from types import FrameType

AGAIN_S = 0.05


def end_on_signals() -> None:
    """Let SIGINT and SIGTERM raise SystemExit, but never while a process is being started."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, _end)


def _end(_number: int, frame: FrameType | None) -> None:
    # What is raised in the callbacks of a fork is printed and lost; and a child that nobody has yet, nobody would end.
    while frame is not None:
        if frame.f_code.co_name == "_execute_child":
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
            return
        frame = frame.f_back
    sys.exit(1)

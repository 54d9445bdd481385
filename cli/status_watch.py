"""`bascule status --watch`: looks again and again, in place on a terminal or a document a line."""

import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import click

from cli.documents import Document
from cli.figures import Look
from cli.output import local_time, write
from cli.status_words import status_lines

_IN_PLACE: Final = ("\x1b[H", "\x1b[J")
"""To the top of the screen; and nothing below what is written."""
_TO_THE_END: Final = "\x1b[K"
"""Of a line, nothing of what stood there before."""


def watch_status(
    look: Callable[[Look | None], tuple[Document, Look | None]], interval_s: float, *, as_json: bool
) -> Document | None:
    """Show the status again and again, until the interrupt; return the last one.

    Args:
        look: Returns the status of now and what the next look is to be given.
        interval_s: From the begin of one look to that of the next.
        as_json: One document a line.
    """
    is_in_place = not as_json and sys.stdout.isatty()
    document: Document | None = None
    before: Look | None = None
    if is_in_place:
        click.clear()
    with _interrupts() as is_interrupted, suppress(KeyboardInterrupt):  # how it is meant to end
        while not is_interrupted():
            began_s = time.monotonic()
            now, before = look(before)
            if is_interrupted():  # it may have cost us an answer
                break
            document = now
            _show(document, interval_s, as_json=as_json, is_in_place=is_in_place)
            time.sleep(max(0.0, began_s + interval_s - time.monotonic()))
    return document


def _show(document: Document, interval_s: float, *, as_json: bool, is_in_place: bool) -> None:
    if as_json:
        import orjson

        write(orjson.dumps(document).decode())
    else:
        lines = [f"{local_time(time.time_ns() // 1_000_000)}  every {interval_s:g} s, Ctrl-C ends it", ""]
        lines += status_lines(document)
        write(_in_place(lines) if is_in_place else "\n".join([*lines, ""]))
    sys.stdout.flush()


def _in_place(lines: list[str]) -> str:
    top, rest = _IN_PLACE
    # What does not fit would push the verdict, which stands first, off the screen.
    most = shutil.get_terminal_size().lines - 1
    if len(lines) > most:
        lines = [*lines[: most - 1], f"... and {len(lines) - most + 1} more lines: make the terminal taller"]
    return top + "".join(f"{line}{_TO_THE_END}\n" for line in lines) + rest


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Give a function that returns whether there was an interrupt, which is raised as ever.

    A loop of asyncio makes a cancellation of it, and a call to Redis may swallow that.
    """
    earlier = signal.getsignal(signal.SIGINT)
    is_interrupted = False

    def note(*_: object) -> None:
        nonlocal is_interrupted
        is_interrupted = True
        raise KeyboardInterrupt

    if earlier is signal.default_int_handler:  # else somebody wants it ignored
        signal.signal(signal.SIGINT, note)
    try:
        yield lambda: is_interrupted
    finally:
        signal.signal(signal.SIGINT, earlier)

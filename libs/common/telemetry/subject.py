"""What the log lines of a task are about: an alert, named once and told on each line.

Most alerts are executed without a line. So nothing is put together before a line is written: what is bound is whatever
holds the facts, and it is asked for them then.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final, Protocol

from libs.common.domain.errors import StoreCorrupt
from libs.common.wire import codec
from libs.common.wire.trace_context import stored_context

ALERT_ID: Final = "alert_id"
STRATEGY: Final = "strategy"
ACCOUNT: Final = "account"
SYMBOL: Final = "symbol"
"""As the alert names it; what its venue calls it is `market`."""
TRACE_ID: Final = "trace_id"
ELAPSED_MS: Final = "elapsed_ms"
"""Since the alert was admitted, on lines of posts since the post began to come in; ms."""

OF_AN_ALERT: Final = (ALERT_ID, STRATEGY, ACCOUNT, SYMBOL, ELAPSED_MS)
"""On each line about an alert, and `trace_id` where it is traced."""


class Subject(Protocol):
    """Holds the facts of an alert."""

    def log_fields(self) -> Mapping[str, object]:
        """Return the fields that stand on each line about it; asked only for a line that is written."""
        ...


def instruction_fields(
    alert_id: str, account: str, market: str, body: bytes, elapsed_ms: int
) -> dict[str, object]:
    """Return the fields of a line about an instruction; what cannot be read of it is not known.

    Args:
        alert_id: Of its alert.
        account: That it is for.
        market: What its venue calls its symbol; stands for the symbol where nobody can read that.
        body: The instruction as it is encoded.
        elapsed_ms: Since the alert was admitted; below 0 it counts as 0.
    """
    strategy, symbol = None, market
    try:
        instruction = codec.INSTRUCTION.decode(body)
    except StoreCorrupt:
        pass
    else:
        strategy, symbol = instruction.strategy, instruction.symbol or instruction.market
    fields: dict[str, object] = {
        ALERT_ID: alert_id,
        ACCOUNT: account,
        STRATEGY: strategy,
        SYMBOL: symbol,
        ELAPSED_MS: max(0, elapsed_ms),
    }
    if (context := stored_context(body)) is not None:
        fields[TRACE_ID] = context.trace_id
    return fields


_CURRENT: Final[ContextVar[Subject | None]] = ContextVar("subject", default=None)


def current_subject() -> Subject | None:
    """Return what this task is about; None where that is no alert."""
    return _CURRENT.get()


def turn_to(subject: Subject | None) -> None:
    """Make this task be about something, until it turns to something else or ends."""
    _CURRENT.set(subject)


class about:  # noqa: N801 - used as a function is
    """Makes this task be about something for a while."""

    __slots__ = ("_before", "_subject")

    def __init__(self, subject: Subject | None) -> None:
        self._subject = subject

    def __enter__(self) -> None:
        self._before = _CURRENT.set(self._subject)

    def __exit__(self, *_: object) -> None:
        _CURRENT.reset(self._before)

"""How a simulated exchange misbehaves, and the dice that decide when."""

import random
from collections import Counter
from enum import StrEnum
from typing import Any, Final

import msgspec

from services.worker.brokers.port import Deduplication


class Trouble(StrEnum):
    """The bad end of one request. Of an order it says whether the exchange took it."""

    HANG_BEFORE = "hang_before"
    """No answer; nothing was done."""
    HANG_AFTER = "hang_after"
    """No answer; it was done."""
    LATE_ACCEPT = "late_accept"
    """No answer; it is done `late_by_ms` later, unless it has expired by then."""
    DROP_BEFORE = "drop_before"
    """The connection is closed; nothing was done."""
    DROP_AFTER = "drop_after"
    """The connection is closed; it was done."""
    TRUNCATED = "truncated"
    """It was done; the answer ends before the length that it announced."""
    JUNK = "junk"
    """It was done; 200 with a page in place of an answer."""
    JUNK_BEFORE = "junk_before"
    """Nothing was done; 200 with a page, as from a portal in between."""
    EMPTY = "empty"
    """It was done; 200 without a body."""
    ERROR_500 = "error_500"
    """500 with a page; nothing was done."""
    ERROR_500_AFTER = "error_500_after"
    """500 with a page; it was done."""
    ERROR_502 = "error_502"
    """502 with a page; nothing was done."""
    ERROR_502_AFTER = "error_502_after"
    """502 with a page; it was done."""
    ERROR_503 = "error_503"
    """503 with a page; nothing was done."""
    ERROR_503_AFTER = "error_503_after"
    """503 with the venue's words that it does not know; it was done."""
    TIMED_OUT = "timed_out"
    """The venue's own timeout, which means that it does not know; nothing was done."""
    TIMED_OUT_AFTER = "timed_out_after"
    """The same; it was done."""
    THROTTLED = "throttled"
    """429 with `Retry-After`; nothing was done."""
    BANNED = "banned"
    """418 with `Retry-After` (Bybit: 403); nothing was done."""
    MAINTENANCE = "maintenance"
    """The venue's words that it takes no orders; nothing was done."""
    REFUSED = "refused"
    """Refused for good, as if the money did not suffice."""


HANGS: Final = frozenset({Trouble.HANG_BEFORE, Trouble.HANG_AFTER, Trouble.LATE_ACCEPT})
DROPS: Final = frozenset({Trouble.DROP_BEFORE, Trouble.DROP_AFTER})
GARBLES: Final = frozenset({Trouble.TRUNCATED, Trouble.JUNK, Trouble.EMPTY})
DONE_AFTER_ALL: Final = frozenset(
    {
        Trouble.HANG_AFTER,
        Trouble.DROP_AFTER,
        *GARBLES,
        Trouble.ERROR_500_AFTER,
        Trouble.ERROR_502_AFTER,
        Trouble.ERROR_503_AFTER,
        Trouble.TIMED_OUT_AFTER,
    }
)
"""After these an order is at the exchange at once."""


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may go wrong with one request. Rates are probabilities between 0 and 1."""

    latency_ms: float = 0
    """Wait before a signed request is acted on; orders that expire meanwhile are refused."""
    trouble: Trouble | None = None
    """Of orders."""
    rate: float = 1
    """How often it strikes."""
    times: int | None = None
    """After so many orders in trouble there are no more; None: no end."""
    asking: Trouble | None = None
    """Of look-ups, and of questions about positions, money and what rests."""
    asking_rate: float = 1
    cancelling: Trouble | None = None
    """Of cancellations."""
    late_by_ms: float = 1_000
    """How late an order is that is accepted late."""
    hang_ms: float = 60_000
    """After this long without an answer the connection is closed."""
    retry_after_s: str = "1"
    """The `Retry-After` of a 429 or 418; empty: none."""


PLAIN: Final = Faults()


class Conduct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for the whole exchange."""

    deduplication: Deduplication | None = None
    """What it does with client order ids that it has seen. None: as the venue itself does."""
    look_up_lag_ms: int = 0
    """Time from the acceptance of an order until questions find it."""
    partial_fills: float = 0
    """The share of fills that are only a part."""
    rechecks_expiry: bool = True
    """Whether a request that expires on its way to the book is refused there too."""


class Modes:
    """The faults in force: for every market, or for one."""

    def __init__(self) -> None:
        self.conduct = Conduct()
        self._general = PLAIN
        self._by_market: dict[str, Faults] = {}
        self._struck: Counter[str] = Counter()
        self._random = random.Random(0)

    def change(self, wanted: dict[str, Any]) -> None:
        """Apply a control document.

        `{"reset": true}` first takes everything back; `seed` seeds the dice; `markets` maps a venue's name of a
        market to the faults that it has instead of the general ones; what else there is are fields of `Conduct` and
        of `Faults`. Orders in trouble are counted anew, for each market that has faults of its own and for the rest.

        Raises:
            msgspec.ValidationError: A field does not exist or has the wrong type.
        """
        fields = dict(wanted)
        if fields.pop("reset", False):
            self.conduct, self._general, self._by_market = Conduct(), PLAIN, {}
        if "seed" in fields:
            self._random = random.Random(fields.pop("seed"))
        self._struck.clear()
        for market, faults in fields.pop("markets", {}).items():
            known = msgspec.to_builtins(self._by_market.get(market, PLAIN))
            self._by_market[market] = msgspec.convert({**known, **faults}, Faults)
        general = {key: fields.pop(key) for key in list(fields) if key in Faults.__struct_fields__}
        self._general = msgspec.convert({**msgspec.to_builtins(self._general), **general}, Faults)
        self.conduct = msgspec.convert({**msgspec.to_builtins(self.conduct), **fields}, Conduct)

    def faults(self, market: str | None) -> Faults:
        """Return what may go wrong with a request about a market; None: about all."""
        return self._general if market is None else self._by_market.get(market, self._general)

    def of_order(self, market: str) -> Trouble | None:
        """Return what goes wrong with one more order, and count it; None: nothing."""
        faults = self.faults(market)
        counted = market if market in self._by_market else ""
        is_over = faults.times is not None and self._struck[counted] >= faults.times
        if faults.trouble is None or is_over or not self._strikes(faults.rate):
            return None
        self._struck[counted] += 1
        return faults.trouble

    def of_question(self, market: str | None) -> Trouble | None:
        """Return what goes wrong with a question."""
        faults = self.faults(market)
        return faults.asking if faults.asking is not None and self._strikes(faults.asking_rate) else None

    def _strikes(self, rate: float) -> bool:
        return rate >= 1 or self._random.random() < rate

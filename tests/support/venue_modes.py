"""How a test venue misbehaves, and the dice that decide when."""

import random
from decimal import Decimal
from typing import Any

import msgspec


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may go wrong with one order or look-up. Rates are probabilities between 0 and 1.

    Of the faults of one order the first that strikes wins, in the order of the fields.
    """

    delay_before_ms: float = 0
    """Wait before executing. The order executes even if its sender has hung up, unless it expires meanwhile."""
    delay_ms: float = 0
    """Wait after executing, before the answer."""
    drop_before: float = 0
    """Close the connection without executing."""
    status_rate: float = 1
    """How often `status` strikes, once it is set."""
    status: int = 0
    """Answer this status: without executing, unless `status_executes`."""
    status_executes: bool = False
    """Execute, then answer `status` all the same."""
    retry_after_s: str = "1"
    """The `Retry-After` of a 429 or 503; empty: none."""
    reject_rate: float = 1
    """How often `reject` strikes, once it is set."""
    reject: str = ""
    """Refuse for good: 422 with this code, not executed."""
    drop_after: float = 0
    """Execute, then close the connection without an answer."""
    garbage_rate: float = 1
    """How often `garbage` strikes, once it is set."""
    garbage: str = ""
    """Execute, then answer 200 with `no_order_id`, `truncated` (less body than announced), `not_json` or `empty`."""
    order_status: str = ""
    """What an order's `status` says; by default `filled`, and `accepted` for one with a limit or stop price."""
    fill: str = "1"
    """The share of a filled order's quantity that counts as filled."""
    price: str = "100"
    """The average price of an order without a limit price."""
    lookup_lag_ms: float = 0
    """Time from the execution until a look-up finds the order."""
    lookup_status: int = 0
    """Answer look-ups with this status instead."""
    lookup_drop: float = 0
    """How often a look-up's connection is closed without an answer."""
    lookup_delay_ms: float = 0
    """Wait before a look-up's answer."""
    facts_status: int = 0
    """Answer questions about money, markets, prices, positions and open orders with this status instead."""
    facts_drop: float = 0
    """How often such a question's connection is closed without an answer."""
    facts_delay_ms: float = 0
    """Wait before the answer to such a question."""
    cancel_status: int = 0
    """Answer a cancellation with this status: without cancelling, unless `cancel_executes`."""
    cancel_executes: bool = False
    """Cancel, then answer `cancel_status` all the same."""
    cancel_drop: float = 0
    """How often the orders are cancelled and the connection is closed without an answer."""

    def __post_init__(self) -> None:
        if self.garbage not in {"", "no_order_id", "truncated", "not_json", "empty"}:
            raise ValueError(f"no such garbage: {self.garbage}")
        Decimal(self.fill)
        Decimal(self.price)


PLAIN = Faults()


class Modes:
    """The faults in force: for every symbol, or for one; for good, or for the next `times` orders."""

    def __init__(self) -> None:
        self._general = PLAIN
        self._by_symbol: dict[str, Faults] = {}
        self._times_left: int | None = None
        self._random = random.Random(0)

    def change(self, wanted: dict[str, Any]) -> None:
        """Apply a control document.

        `{"reset": true}` first takes everything back; `seed` seeds the dice; `times` is the number of orders after
        which all faults end; `symbols` maps a symbol to the faults it has instead of the general ones; what else
        there is are fields of `Faults`, which change the general ones and leave the rest of them.

        Raises:
            msgspec.ValidationError: A field does not exist or has the wrong type.
        """
        fields = dict(wanted)
        if fields.pop("reset", False):
            self._general, self._by_symbol, self._times_left = PLAIN, {}, None
        if "seed" in fields:
            self._random = random.Random(fields.pop("seed"))
        if "times" in fields:
            self._times_left = fields.pop("times")
        for symbol, faults in fields.pop("symbols", {}).items():
            known = msgspec.structs.asdict(self._by_symbol.get(symbol, PLAIN))
            self._by_symbol[symbol] = msgspec.convert({**known, **faults}, Faults)
        self._general = msgspec.convert({**msgspec.structs.asdict(self._general), **fields}, Faults)

    def of_order(self, symbol: str) -> Faults:
        """Return the faults for one more order of this symbol, and count it."""
        if self._times_left is not None:
            if self._times_left <= 0:
                self._general, self._by_symbol, self._times_left = PLAIN, {}, None
            else:
                self._times_left -= 1
        return self._by_symbol.get(symbol, self._general)

    def of_lookup(self, symbol: str | None) -> Faults:
        """Return the faults for a look-up."""
        return self._general if symbol is None else self._by_symbol.get(symbol, self._general)

    def strikes(self, rate: float) -> bool:
        """Throw the dice; certain and impossible faults throw none."""
        return rate > 0 and (rate >= 1 or self._random.random() < rate)

"""Stored records to bytes and back: JSON, decimals as strings, exact."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

from libs.common.domain.alert import Alert
from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.instruction import Instruction
from libs.common.domain.order import OrderPlan, OrderReport, Plan
from libs.common.policy.book import Book
from libs.common.policy.risk import Budget

Record = TypeVar("Record")


class Codec(Generic[Record]):
    """Encodes and decodes records of one kind."""

    def __init__(self, kind: type[Record], name: str) -> None:
        """Args:
        kind: A `Struct`.
        name: What an error calls it.
        """
        self.encode: Final[Callable[[Record], bytes]] = msgspec.json.Encoder().encode
        """Return a record as it is stored."""
        self._decoder = msgspec.json.Decoder(kind)
        self._name = name

    def decode(self, body: bytes) -> Record:
        """Return a stored record.

        Raises:
            StoreCorrupt: It is not of this kind.
        """
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StoreCorrupt(f"the {self._name} cannot be decoded: {error}") from error


class _Strategy(msgspec.Struct, frozen=True):
    strategy: str | None = None


class _Named(msgspec.Struct, frozen=True):
    content: _Strategy = msgspec.field(name="signal")


ALERT: Final = Codec(Alert, "alert")
_STRATEGY: Final = Codec(_Named, "alert")
INSTRUCTION: Final = Codec(Instruction, "instruction")
ORDER_PLAN: Final = Codec(OrderPlan, "order plan")
PLAN: Final = Codec(Plan, "plan")
BUDGETS: Final = Codec(tuple[Budget, ...], "budgets")
ORDER_REPORT: Final = Codec(OrderReport, "order report")
BOOK: Final = Codec(Book, "book")


def strategy_of(body: bytes) -> str | None:
    """Return the strategy that an encoded alert names; all of the alert would cost ten times as much.

    Raises:
        StoreCorrupt: It is no alert.
    """
    return _STRATEGY.decode(body).content.strategy

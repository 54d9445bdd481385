"""Stored records to bytes and back: JSON, decimals as strings, exact."""

from typing import Final, TypeVar

import msgspec

from libs.common.domain.alert import Alert
from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.instruction import Instruction
from libs.common.domain.order import OrderPlan, OrderReport

Record = TypeVar("Record")

_ENCODE: Final = msgspec.json.Encoder().encode
_ALERT: Final = msgspec.json.Decoder(Alert)
_INSTRUCTION: Final = msgspec.json.Decoder(Instruction)
_PLAN: Final = msgspec.json.Decoder(OrderPlan)
_REPORT: Final = msgspec.json.Decoder(OrderReport)


def encode_alert(alert: Alert) -> bytes:
    """Return an alert as its record holds it."""
    return _ENCODE(alert)


def decode_alert(body: bytes) -> Alert:
    """Return a stored alert.

    Raises:
        StoreCorrupt: It is not one.
    """
    return _decode(_ALERT, body, "alert")


def encode_instruction(instruction: Instruction) -> bytes:
    """Return an instruction as its lane holds it."""
    return _ENCODE(instruction)


def decode_instruction(body: bytes) -> Instruction:
    """Return an instruction from its lane.

    Raises:
        StoreCorrupt: It is not one.
    """
    return _decode(_INSTRUCTION, body, "instruction")


def encode_plan(plan: OrderPlan) -> bytes:
    """Return a plan as the order's record holds it."""
    return _ENCODE(plan)


def decode_plan(body: bytes) -> OrderPlan:
    """Return a stored plan.

    Raises:
        StoreCorrupt: It is not one.
    """
    return _decode(_PLAN, body, "order plan")


def encode_report(report: OrderReport) -> bytes:
    """Return a venue's report as the order's record holds it."""
    return _ENCODE(report)


def decode_report(body: bytes) -> OrderReport:
    """Return a stored report.

    Raises:
        StoreCorrupt: It is not one.
    """
    return _decode(_REPORT, body, "order report")


def _decode(decoder: msgspec.json.Decoder[Record], body: bytes, what: str) -> Record:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StoreCorrupt(f"the {what} cannot be decoded: {error}") from error

"""Sections of a paper account: how its exchange behaves, and how badly."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final

import msgspec

from libs.common.policy.faults import Fault
from libs.common.runtime.durations import DurationMs, DurationOrZeroMs
from libs.common.runtime.sections import Section, WrongValue

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]

_SURELY: Final = 1.000_000_1
"""Shares are binary fractions: ten of 0.1 may come to a little more than 1."""


class PaperFaults(Section, frozen=True, kw_only=True):
    """What goes wrong on purpose: each is a share of all orders, 0 to 1; together they are 1 at most."""

    timeout_before: Share = 0.0
    """No answer, and the order was not accepted."""
    timeout_after: Share = 0.0
    """No answer, and the order was accepted."""
    late_accept: Share = 0.0
    """No answer, and the order is accepted after `late_by`, unless it has expired by then."""
    throttled: Share = 0.0
    """"Too many requests": not accepted, come back after `retry_after`."""
    server_error: Share = 0.0
    """An error of the exchange that does not say whether the order was accepted. It was not."""
    server_error_after: Share = 0.0
    """The same. It was."""
    maintenance: Share = 0.0
    """The exchange takes no orders."""
    refused: Share = 0.0
    """The order is refused for good."""
    look_up_lag_ms: DurationOrZeroMs = msgspec.field(default=DurationOrZeroMs(0), name="look_up_lag")
    """Time after accepting an order in which a look-up does not know it yet."""
    retry_after_ms: DurationMs = msgspec.field(default=DurationMs(1_000), name="retry_after")
    """How long a throttled account is to wait."""
    late_by_ms: DurationMs = msgspec.field(default=DurationMs(1_000), name="late_by")
    """How late an order is accepted."""

    def __post_init__(self) -> None:
        if sum(getattr(self, fault.value) for fault in Fault) > _SURELY:
            raise WrongValue("timeout_before", "shares that together are 1 at most")


class Preset(StrEnum):
    """How hard a paper account is made: figures for what it leaves at 0 itself."""

    FRICTIONLESS = "frictionless"
    """Nothing is added."""
    REALISTIC = "realistic"
    """About what a large exchange shows on a good day."""
    BRUTAL = "brutal"
    """All that can go wrong, often."""


class PresetFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a preset stands for; see the fields of `PaperAccount`."""

    slippage_bps: Decimal = Decimal(0)
    fee_bps: Decimal = Decimal(0)
    latency_ms: int = 0
    latency_most_ms: int = 0
    partial_fills: float = 0.0
    faults: PaperFaults = PaperFaults()


PRESETS: Final[Mapping[Preset, PresetFigures]] = MappingProxyType(
    {
        Preset.FRICTIONLESS: PresetFigures(),
        Preset.REALISTIC: PresetFigures(
            slippage_bps=Decimal(2),
            fee_bps=Decimal(5),
            latency_ms=20,
            latency_most_ms=200,
            partial_fills=0.05,
            faults=PaperFaults(timeout_after=0.001, throttled=0.002, look_up_lag_ms=DurationOrZeroMs(100)),
        ),
        Preset.BRUTAL: PresetFigures(
            slippage_bps=Decimal(10),
            fee_bps=Decimal(10),
            latency_ms=50,
            latency_most_ms=2_000,
            partial_fills=0.5,
            faults=PaperFaults(
                timeout_before=0.03,
                timeout_after=0.03,
                late_accept=0.02,
                throttled=0.05,
                server_error=0.02,
                server_error_after=0.02,
                maintenance=0.02,
                refused=0.01,
                look_up_lag_ms=DurationOrZeroMs(1_000),
            ),
        ),
    }
)

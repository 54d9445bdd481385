"""How people see what an alert asks for: its quantity, with what it counts."""

from types import MappingProxyType
from typing import Final

_UNITS: Final = MappingProxyType(
    {
        "quote": "of the quote currency",
        "percent_of_equity": "% of equity",
        "percent_of_position": "% of the position",
        "risk_quote": "of the quote currency at risk",
        "risk_percent": "% of equity at risk",
    }
)
"""In words; base units go without saying."""


def quantity_words(quantity: str | None, unit: str) -> str | None:
    """Return a quantity with what it counts; None where the alert names none.

    Args:
        quantity: As decimal text.
        unit: As alerts name it.
    """
    if quantity is None:
        return None
    return f"{quantity} {_UNITS[unit]}" if unit in _UNITS else quantity

"""Finds the one record that an operator names by the beginning of its id."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

from cli.output import Failure

if TYPE_CHECKING:
    from libs.common.store.search import Found

T = TypeVar("T")

SHORTEST_BEGINNING: Final = 4
"""Of the id of what may be traded or dropped for good."""

MOST_NAMED: Final = 5
"""Of the records that a beginning fits."""


async def find_beginning(
    name: str,
    newest: "Callable[[int], Awaitable[Found[T]]]",
    label: Callable[[T], str],
    *,
    kind: str,
    missing: str,
    choice: str = "give the id of one",
) -> T:
    """Return the one record that a beginning fits.

    Args:
        name: The beginning.
        newest: Returns at most so many records that it fits.
        label: Names a record among several.
        kind: What such a record is called, in the singular.
        missing: What to say where there is none.
        choice: What to do where there are several.

    Raises:
        Failure: The beginning is too short, or fits none, or several.
    """
    if len(name) < SHORTEST_BEGINNING:
        raise Failure(
            f'"{name}" is too short to name one {kind}: give at least {SHORTEST_BEGINNING} characters'
        )
    found = (await newest(MOST_NAMED)).items
    if not found:
        raise Failure(missing)
    if len(found) > 1:
        raise Failure(f"{name} names several {kind}s, {choice}: {', '.join(map(label, found))}")
    return found[0]

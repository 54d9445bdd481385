"""Puts one question to several shards at once."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from libs.common.domain.errors import BridgeError, StoreBarred, StoreUnavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spread(Generic[T]):
    """What each shard answered."""

    answers: Mapping[int, T]
    """By the shards' numbers."""
    failed: Mapping[int, BridgeError]
    """Of those that gave none; by their numbers too."""

    @property
    def away(self) -> dict[int, StoreUnavailable]:
        """Return of those that did not answer, or not to us, what stood in the way.

        Raises:
            BridgeError: A shard failed otherwise.
        """
        found: dict[int, StoreUnavailable] = {}
        for number, error in self.failed.items():
            if not isinstance(error, StoreUnavailable):
                raise error
            found[number] = error
        return found

    def need_any(self) -> None:
        """Raise what stood in the way of the first, where none answered.

        Raises:
            BridgeError: None did.
        """
        if not self.answers:
            raise next(iter(self.failed.values()))


async def ask_each(calls: Mapping[int, Awaitable[T]]) -> Spread[T]:
    """Return what calls to shards answered, each for itself.

    Args:
        calls: One for each shard, by its number; all are made at once.
    """
    replies = await asyncio.gather(*calls.values(), return_exceptions=True)
    answers: dict[int, T] = {}
    failed: dict[int, BridgeError] = {}
    for number, reply in zip(calls, replies, strict=True):
        if isinstance(reply, BridgeError):
            failed[number] = reply
        elif isinstance(reply, BaseException):
            raise reply
        else:
            answers[number] = reply
    return Spread(answers, failed)


async def ask_all(calls: Mapping[int, Awaitable[T]]) -> dict[int, T]:
    """Return what calls to shards answered, by their numbers.

    Args:
        calls: One for each shard, by its number; all are made at once.

    Raises:
        StoreUnavailable: Not all of them answered; where some did, the text names the others.
        BridgeError: A shard failed otherwise.
    """
    if len(calls) == 1:
        [(number, call)] = calls.items()
        return {number: await call}
    spread = await ask_each(calls)
    away = spread.away
    if away:
        raise unavailable(away, of=len(calls))
    return dict(spread.answers)


def unavailable(away: Mapping[int, StoreUnavailable], *, of: int) -> StoreUnavailable:
    """Return one error for those of several shards.

    Args:
        away: By their numbers; at least one.
        of: How many were asked: where none of them answered, it is Redis that does not.
    """
    first = next(iter(away.values()))
    if len(away) == of:
        return first
    text = f"{shards_in_words(away)}: {str(first.__cause__ or first).rstrip('.')}"
    return StoreBarred(text, first.remedy) if isinstance(first, StoreBarred) else StoreUnavailable(text)


def shards_in_words(numbers: Mapping[int, object] | tuple[int, ...]) -> str:
    """Return `shard 2` or `shards 1, 2`."""
    names = ", ".join(str(number) for number in sorted(numbers))
    return f"shard{'' if len(numbers) == 1 else 's'} {names}"

"""Waiting for something to become true: the only way tests wait."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    condition: Callable[[], Awaitable[T]],
    timeout_s: float = ...,
    interval_s: float = ...,
    message: str = ...,
) -> T: ...


@overload
async def eventually(
    condition: Callable[[], T],
    timeout_s: float = ...,
    interval_s: float = ...,
    message: str = ...,
) -> T: ...


async def eventually(
    condition: Callable[[], Any],
    timeout_s: float = 10.0,
    interval_s: float = 0.02,
    message: str = "",
) -> Any:
    """Return what `condition` returns as soon as that is truthy.

    Args:
        condition: A function or coroutine function; `AssertionError` counts as not yet, anything else passes.
        timeout_s: The time it may take. The condition is asked once more at the end.
        interval_s: The pause between two askings.
        message: What was awaited, for the failure.

    Raises:
        AssertionError: It never became truthy; carries the last value or the condition's own assertion.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        is_last = time.monotonic() >= deadline
        failure: AssertionError | None = None
        value: Any = None
        try:
            result = condition()
            value = await result if inspect.isawaitable(result) else result
        except AssertionError as error:
            failure = error
        if failure is None and value:
            return value
        if is_last:
            raise AssertionError(_text(timeout_s, message, value, failure)) from failure
        await asyncio.sleep(interval_s)


def eventually_sync(
    condition: Callable[[], T],
    timeout_s: float = 10.0,
    interval_s: float = 0.02,
    message: str = "",
) -> T:
    """Return what `condition` returns as soon as that is truthy; `eventually` without an event loop."""
    deadline = time.monotonic() + timeout_s
    while True:
        is_last = time.monotonic() >= deadline
        failure: AssertionError | None = None
        value: T | None = None
        try:
            value = condition()
        except AssertionError as error:
            failure = error
        if failure is None and value:
            return value
        if is_last:
            raise AssertionError(_text(timeout_s, message, value, failure)) from failure
        time.sleep(interval_s)


def _text(timeout_s: float, message: str, value: object, failure: AssertionError | None) -> str:
    what = message or "the condition"
    last = f"last: {failure}" if failure is not None else f"last value: {value!r}"
    return f"not within {timeout_s:g} s: {what}; {last}"

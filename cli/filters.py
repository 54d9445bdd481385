"""Options that several commands share."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Final, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_LIMIT: Final = 20


def duration_ms(_: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Return the milliseconds of a duration as the configuration writes it; a callback of options."""
    if value is None:
        return None
    from libs.common.runtime.durations import DurationMs

    try:
        return int(DurationMs.parse(value))
    except ValueError as error:
        raise click.BadParameter(f'got "{value}", expected {error}', param=param) from error


def json_option(function: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout.")(function)


def limit_option(function: F) -> F:
    """Add `--limit`."""
    return click.option(
        "--limit",
        type=click.IntRange(min=1),
        default=DEFAULT_LIMIT,
        show_default=True,
        help="The most to list.",
    )(function)


def since_option(function: F) -> F:
    """Add `--since`, milliseconds back from now."""
    return click.option("--since", "since_ms", callback=duration_ms, help="Only the last 30min, 2h, 7d...")(
        function
    )


def symbol_option(function: F) -> F:
    """Add `--symbol`."""
    return click.option("--symbol", help="Only this symbol, as sent or as the venue calls it.")(function)


def account_option(function: F) -> F:
    """Add `--account`."""
    return click.option("--account", help="Only this account.")(function)


def state_option(states: Iterable[StrEnum]) -> Callable[[F], F]:
    """Add `--state`, one of these."""
    names = click.Choice([state.value for state in states], case_sensitive=False)
    return click.option("--state", type=names, help="Only those in this state.")


def list_options(states: Iterable[StrEnum]) -> Callable[[F], F]:
    """Add all that narrows a list, and `--json`.

    Args:
        states: Those that `--state` may ask for.
    """

    def add(function: F) -> F:
        for option in (json_option, account_option, symbol_option, state_option(states)):
            function = option(function)
        return limit_option(since_option(function))

    return add


def is_same(wanted: str | None, *values: str | None) -> bool:
    """Return whether no value was asked for, or one of these is it, whatever the case."""
    return wanted is None or wanted.casefold() in {value.casefold() for value in values if value}

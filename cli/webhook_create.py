"""`bascule webhook create`: a section of the configuration, said with options."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

import click

from cli.filters import json_option
from cli.output import note, write_json

F = TypeVar("F", bound=Callable[..., Any])

_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "account": "accounts",
        "allow": "allow",
        "auth": "auth",
        "burst": "burst",
        "dedup": "dedup",
        "dedup_bar": "dedup_bar",
        "dedup_body": "dedup_body",
        "dialect": "dialect",
        "entries_per_bar": "entries_per_bar",
        "max_age": "max_age",
        "max_body": "max_body",
        "rate": "rate",
        "signing_key": "signing_keys",
    }
)
"""Option -> the key of a webhook's section that says the same."""


def secret_option(function: F) -> F:
    """Add `--secret-stdin`."""
    text = "Take over the secret in the first line of stdin, at least 8 characters, in place of a new one."
    return click.option("--secret-stdin", "is_own_secret", is_flag=True, help=text)(function)


def _lower(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return words as the configuration writes them; a callback of options."""
    return tuple(value.lower() for value in values)


@click.command(name="create")
@click.argument("name")
@click.option("--account", multiple=True, required=True, help="Where its alerts are traded; repeat for more.")
@click.option("--dialect", help="The only one it takes; else each alert's is recognised.")
@click.option(
    "--option",
    "settled",
    multiple=True,
    help="NAME=VALUE that the dialect leaves open, see docs/dialects.md.",
)
@click.option(
    "--allow", multiple=True, help="Only from this address, network or set, for example tradingview."
)
@click.option("--rate", help="Alerts admitted, for example 60/min, or off.  [default: 30/min]")
@click.option("--burst", type=int, help="Alerts that may come at once after a pause.  [default: 120]")
@click.option("--max-age", help="Older alerts are not traded.  [default: 60s]")
@click.option("--max-body", type=int, help="Bytes of a post.  [default: 25000]")
@click.option(
    "--auth",
    multiple=True,
    type=click.Choice(["url", "secret", "signature", "certificate"]),
    help="What a post must present beside the URL's token; url: nothing; repeat for more.  [default: secret]",
)
@click.option("--signing-key", multiple=True, help="A key of the configuration whose signature counts.")
@click.option("--only-action", multiple=True, callback=_lower, help="Only alerts with this action.")
@click.option("--only-exchange", multiple=True, help="Only alerts with this exchange.")
@click.option(
    "--only-symbol", multiple=True, help="Only alerts with this symbol; * stands for any characters."
)
@click.option("--dedup", help="Time a repeat is known by its own id.  [default: 24h]")
@click.option("--dedup-bar", help="By strategy, bar, symbol and action.  [default: 60s]")
@click.option("--dedup-body", help="By its body.  [default: 30s]")
@click.option("--entries-per-bar", type=int, help="Alerts that are meant within a bar.  [default: 1]")
@secret_option
@json_option
def create(name: str, is_own_secret: bool, as_json: bool, **options: Any) -> None:
    """Make a webhook; its URL and its secret are shown this once."""
    from cli import webhook_changes
    from cli.webhook_credentials import new_credential, read_own_secret, refuse_unfit
    from cli.webhook_document import SHOWN_ONCE, webhook_document
    from cli.webhook_place import find_place
    from cli.webhook_template import make_template, show_template, tell_warnings

    place = find_place(is_strict=True)
    holds_secret = "secret" in (options["auth"] or ("secret",))
    if is_own_secret and not holds_secret:
        raise click.UsageError("--secret-stdin: expected --auth secret with it, or no --auth")
    token, secret = new_credential(), new_credential() if holds_secret else None
    section = _section(options)
    # Before a secret is asked for, so that nobody types one in vain.
    webhook_changes.new_webhook(name, section, place, token=token, secret=secret)
    if is_own_secret:
        secret = read_own_secret()
        refuse_unfit(secret, section.get("dialect"))
    webhook, now_ms = webhook_changes.create(
        place, webhook_changes.new_webhook(name, section, place, token=token, secret=secret)
    )
    shown = None if is_own_secret else secret
    template = make_template(webhook, place, token=token, secret=shown)
    if as_json:
        credentials = {"url": template.url, "token": token, "secret": shown}
        pasted = {"message": template.message, "warnings": list(template.warnings)}
        write_json(webhook_document(webhook, place, now_ms) | credentials | pasted)
    else:
        show_template(template, secret=shown)
        note(f"webhook {name} is made, for {', '.join(webhook.accounts)}; {SHOWN_ONCE}")
        if webhook.dialect is None and holds_secret:
            note(
                "alerts of a dialect without a place for a secret are admitted by the URL alone: keep it as secret, or "
                "allow one dialect with --dialect"
            )
    tell_warnings(template)
    if is_own_secret:
        note("the secret is the one from stdin; it is not repeated here")


def _section(options: dict[str, Any]) -> dict[str, object]:
    """Return what the options say as a section of the configuration says it.

    Raises:
        UsageError: One cannot be read, or stands there twice with different values.
    """
    given = {name: value for name, value in options.items() if value not in (None, ())}
    section: dict[str, object] = {
        key: list(given[name]) if isinstance(given[name], tuple) else given[name]
        for name, key in _KEYS.items()
        if name in given
    }
    only = {
        f"{what}s": list(given[f"only_{what}"])
        for what in ("action", "exchange", "symbol")
        if f"only_{what}" in given
    }
    if only:
        section["only"] = only
    if "settled" in given:
        section["options"] = _settled(given["settled"])
    return section


def _settled(pairs: tuple[str, ...]) -> dict[str, str]:
    settled: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals or settled.setdefault(name, value) != value:
            raise click.UsageError(f'--option: got "{pair}", expected NAME=VALUE, each NAME once')
    return settled

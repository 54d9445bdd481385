"""`bascule webhook`: URLs that alerts are posted to, made and changed while the bridge runs."""

from typing import TYPE_CHECKING, Final

import click

from cli.context import ask
from cli.filters import json_option
from cli.output import note, when, write, write_json, write_table
from cli.webhook_create import create, secret_option

if TYPE_CHECKING:
    from cli.webhook_place import Place
    from libs.common.policy.webhook import Webhook
    from libs.common.store.readings import Readings
    from libs.common.store.tables import Tables

DEFAULT_OVERLAP: Final = "24h"


def overlap_ms(_: click.Context, param: click.Parameter, value: str) -> int:
    """Return the milliseconds of a duration, 0s allowed; a callback of options."""
    from libs.common.runtime.durations import DurationOrZeroMs

    try:
        return int(DurationOrZeroMs.parse(value))
    except ValueError as error:
        raise click.BadParameter(f'got "{value}", expected {error}', param=param) from error


@click.group(name="webhook")
def command() -> None:
    """Make, list, change and delete webhooks.

    Those of the configuration are shown, and changed there.
    """


command.add_command(create)


@command.command(name="list")
@json_option
def list_(as_json: bool) -> None:
    """List all webhooks, those of the configuration first."""
    from cli.webhook_document import auth_text, state_text, webhook_document
    from cli.webhook_place import find_place

    place = find_place()
    tables, now_ms = _read(place)
    made = [one for name, one in sorted(tables.webhooks.items()) if name not in place.declared]
    documents = [webhook_document(one, place, now_ms) for one in (*place.declared.values(), *made)]
    if as_json:
        write_json(documents)
    else:
        rows = [
            (
                one["name"],
                state_text(one),
                ",".join(one["accounts"]),
                one["dialect"] or "any",
                auth_text(one),
                ",".join(one["allow"]) or "any",
                one["rate"],
                when(one["created_at_ms"], now_ms),
            )
            for one in documents
        ]
        write_table(("WEBHOOK", "STATE", "ACCOUNTS", "DIALECT", "DEMANDS", "FROM", "RATE", "MADE"), rows)
    for taken in tables.webhooks.keys() & place.declared.keys():
        note(f"another webhook {taken} was made at run time: delete it, the configuration has that name now")
    for name in tables.unreadable_webhooks:
        note(f"webhook {name} cannot be read: Redis holds something else in its place")


@command.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show a webhook, without its credentials."""
    from cli.webhook_document import show_webhook, webhook_document
    from cli.webhook_place import find_place

    place = find_place()
    webhook, now_ms = _find(place, name)
    document = webhook_document(webhook, place, now_ms)
    if as_json:
        write_json(document)
    else:
        show_webhook(document, now_ms)


@command.command()
@click.argument("name")
@click.option(
    "--overlap",
    "overlap",
    default=DEFAULT_OVERLAP,
    show_default=True,
    callback=overlap_ms,
    help="How long the old one is still accepted; 0s: not at all, nor any older one.",
)
@click.option("--url", "is_url", is_flag=True, help="Change the URL and not the secret.")
@secret_option
@json_option
def rotate(name: str, overlap: int, is_url: bool, is_own_secret: bool, as_json: bool) -> None:
    """Replace a webhook's secret, or its URL.

    The secret, unless its alerts hold none or --url is given.
    """
    from cli import webhook_changes
    from cli.webhook_credentials import new_credential, read_own_secret
    from cli.webhook_document import SHOWN_ONCE, webhook_document
    from cli.webhook_place import find_place
    from cli.webhook_url import hook_url
    from libs.common.policy.webhook import Demand
    from libs.common.runtime.durations import format_duration

    if is_url and is_own_secret:
        raise click.UsageError("--secret-stdin: expected without --url, which leaves the secret as it is")
    place = find_place()
    place.refuse_declared(name)
    before, _ = _find(place, name)
    if Demand.SECRET not in before.demands:
        if is_own_secret:
            raise click.UsageError(f"--secret-stdin: alerts to webhook {name} hold no secret")
        is_url = True
    new = read_own_secret() if is_own_secret else new_credential()
    renewed = webhook_changes.with_new_token if is_url else webhook_changes.with_new_secret
    webhook, now_ms = webhook_changes.change(
        place, name, lambda one, at_ms: renewed(one, new, at_ms, overlap), "rotated"
    )
    document = webhook_document(webhook, place, now_ms) | {"token": None, "secret": None}
    if is_url:
        document |= {"token": new, "url": hook_url(place.base_url, new)}
    elif not is_own_secret:
        document["secret"] = new
    if as_json:
        write_json(document)
    else:
        for label in ("url", "secret"):
            if document[label]:
                write(f"{label:<9}{document[label]}")
    if not is_own_secret:
        note(SHOWN_ONCE)
    what = "URLs are served" if is_url else "secrets are accepted"
    end = f"for {format_duration(overlap)} at most" if overlap else "no more"
    note(f"webhook {name}: its old {what} {end}; change the alerts")


@command.command()
@click.argument("name")
@json_option
def disable(name: str, as_json: bool) -> None:
    """Answer 404 as if it were not there.

    Until it is enabled again.
    """
    _switch(name, is_disabled=True, as_json=as_json)


@command.command()
@click.argument("name")
@json_option
def enable(name: str, as_json: bool) -> None:
    """Serve a disabled webhook again."""
    _switch(name, is_disabled=False, as_json=as_json)


@command.command()
@click.argument("name")
@click.option("--yes", "is_sure", is_flag=True, help="Yes, delete it.")
@json_option
def delete(name: str, is_sure: bool, as_json: bool) -> None:
    """Delete a webhook for good; its alerts keep their records."""
    from cli import webhook_changes
    from cli.webhook_place import find_place

    if not is_sure:
        raise click.UsageError("its URL and its secret are lost for good: give --yes, or disable it instead")
    webhook_changes.change(find_place(), name, lambda _, __: None, "deleted")
    if as_json:
        write_json({"name": name, "outcome": "deleted"})
    else:
        write(f"deleted {name}")


@command.command()
@click.argument("name")
@click.option("--dialect", help="The message's; the webhook's own without it, else bascule.")
@json_option
def template(name: str, dialect: str | None, as_json: bool) -> None:
    """Show the URL and the message to paste into TradingView."""
    from cli.webhook_place import find_place
    from cli.webhook_template import make_template, show_template, tell_warnings

    place = find_place()
    webhook, _ = _find(place, name)
    made = make_template(webhook, place, dialect=dialect)
    if as_json:
        document = {"name": name, "url": made.url, "dialect": made.dialect, "message": made.message}
        write_json(document | {"warnings": list(made.warnings)})
    else:
        show_template(made)
    tell_warnings(made)


def _switch(name: str, *, is_disabled: bool, as_json: bool) -> None:
    import msgspec

    from cli import webhook_changes
    from cli.webhook_document import webhook_document
    from cli.webhook_place import find_place

    place = find_place()
    word = "disabled" if is_disabled else "enabled"
    webhook, now_ms = webhook_changes.change(
        place, name, lambda one, _: msgspec.structs.replace(one, is_disabled=is_disabled), word
    )
    if as_json:
        write_json(webhook_document(webhook, place, now_ms))
    else:
        write(f"{word} {name}")


def _find(place: "Place", name: str) -> "tuple[Webhook, int]":
    """Return the webhook of a name, and Redis' time, ms.

    Raises:
        Failure: There is none, or Redis does not answer.
    """
    from libs.common.domain.ids import WebhookName

    tables, now_ms = _read(place)
    found = place.declared.get(WebhookName(name)) or tables.webhooks.get(WebhookName(name))
    if found is None:
        raise place.missing(name, tables)
    return found, now_ms


def _read(place: "Place") -> "tuple[Tables, int]":
    async def reading(readings: "Readings") -> "tuple[Tables, int]":
        return await readings.tables.read(), await readings.now_ms()

    return ask(place.bridge, reading)

"""`bascule events`: every post to a webhook, and what it was answered."""

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import click

from cli.context import Bridge, ask, find_bridge
from cli.documents import Document, post_document
from cli.filters import is_same, json_option, limit_option, since_option
from cli.listing import Columns, list_newest
from cli.output import Failure, cell, painted, printable, when, write, write_json

if TYPE_CHECKING:
    from libs.common.store.journal import Post
    from libs.common.store.readings import Readings

COLUMNS: Final[Columns] = MappingProxyType(
    {
        "EVENT": "event_id",
        "CAME": "at_ms",
        "WEBHOOK": "webhook",
        "OUTCOME": "outcome",
        "STATUS": "status",
        "REASON": "reason",
        "FIELD": "field",
        "ALERT": "alert_id",
        "DETAIL": "detail",
    }
)

NOT_KEPT: Final = (
    "older ones make room for newer ones, what was answered 5xx is not kept, and refusals of strangers, such as for a "
    "wrong secret, are kept as a sample or not at all"
)
"""Why an id that somebody was answered may be unknown here."""


@click.command(name="events")
@click.argument("event_id", metavar="[ID]", required=False)
@limit_option
@since_option
@click.option("--reason", help="Only admitted, duplicate, or a code such as invalid_action.")
@click.option("--webhook", help="Only this webhook.")
@json_option
def command(
    event_id: str | None,
    limit: int,
    since_ms: int | None,
    reason: str | None,
    webhook: str | None,
    as_json: bool,
) -> None:
    """List posts to webhooks, or show one.

    Admitted, repeated and refused ones, newest first. Of an ID its beginning is enough. What was answered 5xx is not
    kept; refusals of strangers, such as for a wrong secret, as a sample or not at all.
    """
    bridge = find_bridge()
    if event_id is not None:
        _show(bridge, event_id, as_json=as_json)
        return

    def matches(post: "Post") -> bool:
        return is_same(reason, post.code) and is_same(webhook, post.webhook)

    list_newest(
        bridge,
        lambda readings, from_ms: readings.newest_posts(limit=limit, since_ms=from_ms, matches=matches),
        post_document,
        COLUMNS,
        since_ms=since_ms,
        as_json=as_json,
        webhook=webhook,
    )


def _show(bridge: Bridge, name: str, *, as_json: bool) -> None:
    async def look_up(readings: "Readings") -> "tuple[Post, int]":
        return await _find(readings, name), await readings.now_ms()

    post, now_ms = ask(bridge, look_up)
    document = post_document(post)
    if as_json:
        write_json(document)
        return
    for label, value in _facts(document, now_ms):
        if value is not None:
            write(f"{label:<9}{value}")


async def _find(readings: "Readings", name: str) -> "Post":
    """Return the one post whose event id is, or begins with, `name`.

    Raises:
        Failure: There is none, or more than one.
    """
    found = await readings.newest_posts(limit=5, matches=lambda post: post.event_id.startswith(name))
    exact = [post for post in found.items if post.event_id == name]
    if not found.items:
        raise Failure(f"no event {name} is kept: {NOT_KEPT}")
    if not exact and len(found.items) > 1:
        names = ", ".join(post.event_id for post in found.items)
        raise Failure(f"{name} is the beginning of several events: {names}")
    return (exact or found.items)[0]


def _facts(document: Document, now_ms: int) -> list[tuple[str, str | None]]:
    texts = {
        name: None if document[name] is None else printable(str(document[name]))
        for name in ("field", "detail", "alert_id")
    }
    return [
        ("event", cell(document["event_id"])),
        ("came", when(document["at_ms"], now_ms)),
        ("webhook", cell(document["webhook"])),
        ("outcome", painted(document["outcome"])),
        ("answer", f"{document['status']} {cell(document['reason'])}"),
        ("field", texts["field"]),
        ("detail", texts["detail"]),
        ("alert", texts["alert_id"]),
        ("body", None if document["raw"] is None else printable(" ".join(document["raw"].split()))),
    ]

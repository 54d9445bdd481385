"""`bascule events`: posts that were refused at the door."""

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import click

from cli.context import find_bridge
from cli.documents import refused_document
from cli.filters import is_same, json_option, limit_option, since_option
from cli.listing import Columns, list_newest

if TYPE_CHECKING:
    from libs.common.store.journal import RefusedPost

COLUMNS: Final[Columns] = MappingProxyType(
    {
        "EVENT": "event_id",
        "REFUSED": "at_ms",
        "WEBHOOK": "webhook",
        "STATUS": "status",
        "REASON": "code",
        "FIELD": "field",
        "DETAIL": "detail",
    }
)


@click.command(name="events")
@limit_option
@since_option
@click.option("--reason", help="Only this code, for example unauthorized or invalid_action.")
@click.option("--webhook", help="Only this webhook.")
@json_option
def command(limit: int, since_ms: int | None, reason: str | None, webhook: str | None, as_json: bool) -> None:
    """List refused posts, newest first."""

    def matches(post: "RefusedPost") -> bool:
        return is_same(reason, post.code) and is_same(webhook, post.webhook)

    list_newest(
        find_bridge(),
        lambda readings, from_ms: readings.newest_refused(limit=limit, since_ms=from_ms, matches=matches),
        refused_document,
        COLUMNS,
        since_ms=since_ms,
        as_json=as_json,
        webhook=webhook,
    )

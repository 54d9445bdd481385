"""`bascule events`: posts that were refused at the door."""

from typing import TYPE_CHECKING

import click

from cli.context import ask, find_bridge
from cli.documents import refused_document
from cli.filters import is_same, json_option, limit_option, since_option
from cli.output import note, when, write_json, write_table

if TYPE_CHECKING:
    from libs.common.store.journal import RefusedPost
    from libs.common.store.readings import Found, Readings


@click.command(name="events")
@limit_option
@since_option
@click.option("--reason", help="Only this code, for example unauthorized or invalid_action.")
@click.option("--webhook", help="Only this webhook.")
@json_option
def command(limit: int, since: int | None, reason: str | None, webhook: str | None, as_json: bool) -> None:
    """List refused posts, newest first."""

    def matches(post: "RefusedPost") -> bool:
        return is_same(reason, post.code) and is_same(webhook, post.webhook)

    async def search(readings: "Readings") -> "tuple[Found[RefusedPost], int]":
        now_ms = await readings.now_ms()
        since_ms = None if since is None else now_ms - since
        return await readings.newest_refused(limit=limit, since_ms=since_ms, matches=matches), now_ms

    found, now_ms = ask(find_bridge(), search)
    if as_json:
        write_json([refused_document(post) for post in found.items])
    else:
        rows = [
            (
                post.event_id,
                when(post.at_ms, now_ms),
                post.webhook,
                post.status,
                post.code,
                post.field,
                post.detail,
            )
            for post in found.items
        ]
        write_table(("EVENT", "REFUSED", "WEBHOOK", "STATUS", "REASON", "FIELD", "DETAIL"), rows)
    if found.is_cut:
        note("only the newest part was searched; narrow it with --since")

"""Webhooks made, changed and deleted at run time, each change only upon what it was made for."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

import click
import msgspec

from cli.context import ask
from cli.output import Failure, note
from cli.webhook_document import rate_text
from cli.webhook_place import Place
from libs.common.domain.errors import EditConflict
from libs.common.domain.ids import WebhookName
from libs.common.policy.addresses import AddressList
from libs.common.policy.authentication import HashedSecret, HashedToken, hash_secret, token_digest
from libs.common.policy.webhook import RUN_TIME_LIMIT, RUN_TIME_MAX_BODY, Demand, Webhook
from libs.common.runtime.load_settings import NAME, NAME_FORM, check_webhook
from libs.common.runtime.sections import Misfit, read_section
from libs.common.runtime.webhook_settings import DEFAULT_WEBHOOK, Auth, WebhookSettings
from libs.common.runtime.webhooks import declared_webhook, fresh_salt

if TYPE_CHECKING:
    from libs.common.store.readings import Readings

Credential = TypeVar("Credential", HashedSecret, HashedToken)

IN_FORCE_S: Final = 1.0
"""When every ingress knows a change; to return before would be to say "disabled" of what still trades."""

TRIES: Final = 2
"""How often a change is made upon what is there, where others change it too."""

_SECRET: Final = "SECRET"  # noqa: S105 - the name of a variable
_TOKEN: Final = "TOKEN"  # noqa: S105 - the same
_OPTIONS: Final[Mapping[str, str]] = {
    "accounts": "account",
    "options": "option",
    "only.actions": "only-action",
    "only.exchanges": "only-exchange",
    "only.symbols": "only-symbol",
    "signing_keys": "signing-key",
}
"""Key of a webhook's section -> the option that sets it, where that is another word."""

Make = Callable[[Webhook, int], Webhook | None]
"""From a webhook as it is and Redis' time, ms, to the webhook as it is to be; None: none."""


def new_webhook(
    name: str, document: Mapping[str, object], place: Place, *, token: str, secret: str | None
) -> Webhook:
    """Return the webhook that options describe, as it is stored but for the time of its making.

    Args:
        name: Its own.
        document: What a section of the configuration would say, but for its credentials.
        place: Where it is to be served.
        token: Of its URL.
        secret: Of its alerts; None where they need none.

    Raises:
        UsageError: An option cannot be read, or contradicts another.
        Failure: The name cannot be had, or something is named that is not there.
    """
    _check_name(name, place)
    defaults: dict[str, object] = {"max_body": RUN_TIME_MAX_BODY}
    if "rate" not in document:
        defaults["rate"] = rate_text(RUN_TIME_LIMIT)
    if document.get("rate") != "off":
        # Whatever the rate: a watch list's alerts come at one moment.
        defaults["burst"] = RUN_TIME_LIMIT.burst
    section = defaults | {**document, "token": _TOKEN}
    environ = {_TOKEN: token}
    if secret is not None:
        section["secret"] = _SECRET
        environ[_SECRET] = secret
    try:
        settings = read_section(WebhookSettings, section)
    except Misfit as error:
        raise click.UsageError(_said(error)) from error
    if not settings.signing_keys and Auth.SIGNATURE in settings.auth:
        # The secret itself, which the configuration allows, is not kept here.
        raise click.UsageError("--signing-key: expected one, since --auth signature is given")
    _check_names(settings, place)
    return declared_webhook(WebhookName(name), settings, environ)


def create(place: Place, webhook: Webhook) -> tuple[Webhook, int]:
    """Store a new webhook.

    Returns:
        It, and Redis' time, ms.

    Raises:
        Failure: There is one of that name already, or Redis does not answer.
    """

    async def storing(readings: "Readings") -> tuple[Webhook, int]:
        tables = await readings.tables.read()
        taken = Failure(f"there is a webhook {webhook.name} already: delete it first, or choose another name")
        if webhook.name in tables.webhooks or webhook.name in tables.unreadable_webhooks:
            raise taken
        now_ms = await readings.now_ms()
        made = msgspec.structs.replace(webhook, created_at_ms=now_ms)
        try:
            await readings.tables.put_webhook(made, None, "created")
        except EditConflict as error:
            raise taken from error
        return made, now_ms

    stored = ask(place.bridge, storing)
    time.sleep(IN_FORCE_S)
    return stored


def change(place: Place, name: str, make: Make, reason: str) -> tuple[Webhook, int]:
    """Change a webhook that was made at run time.

    Args:
        place: Where it is.
        name: Its own.
        make: Called with what is there; again where somebody else was faster.
        reason: For the journal.

    Returns:
        The webhook as it is now, of a deleted one as it was; and Redis' time, ms.

    Raises:
        Failure: There is none, it is declared, others keep changing it, or Redis does not answer.
    """

    async def changing(readings: "Readings") -> tuple[Webhook, int]:
        for _ in range(TRIES):
            tables = await readings.tables.read()
            before = tables.webhooks.get(WebhookName(name))
            if before is None:
                place.refuse_declared(name)
                raise place.missing(name, tables)
            now_ms = await readings.now_ms()
            after = make(before, now_ms)
            if after is not None:
                # Where the configuration took over a name, what was made here can still be taken away.
                place.refuse_declared(name)
            try:
                if after is None:
                    await readings.tables.delete_webhook(before)
                else:
                    await readings.tables.put_webhook(after, before, reason)
            except EditConflict:
                continue
            return after or before, now_ms
        raise Failure(f"nothing was done: webhook {name} is being changed by somebody else; look at it first")

    changed = ask(place.bridge, changing)
    time.sleep(IN_FORCE_S)
    return changed


def with_new_secret(webhook: Webhook, secret: str, now_ms: int, overlap_ms: int) -> Webhook:
    """Return a webhook with another secret; those it had are accepted for the overlap at most.

    Raises:
        Failure: Its alerts hold none.
    """
    if Demand.SECRET not in webhook.demands:
        raise Failure(f"alerts to webhook {webhook.name} hold no secret: its URL can be changed, with --url")
    old = tuple(_until(one, now_ms + overlap_ms) for one in webhook.secrets)
    kept = tuple(one for one in old if _is_accepted(one, now_ms))
    return msgspec.structs.replace(webhook, secrets=(*kept, hash_secret(secret, fresh_salt())))


def with_new_token(webhook: Webhook, token: str, now_ms: int, overlap_ms: int) -> Webhook:
    """Return a webhook with another token in its URL; its old URLs are served for the overlap at most."""
    old = tuple(_until(one, now_ms + overlap_ms) for one in webhook.tokens)
    kept = tuple(one for one in old if _is_accepted(one, now_ms))
    return msgspec.structs.replace(webhook, tokens=(*kept, HashedToken(token_digest(token))))


def _check_name(name: str, place: Place) -> None:
    if NAME.fullmatch(name) is None:
        raise click.UsageError(f'NAME: got "{name}", expected {NAME_FORM}')
    if name == DEFAULT_WEBHOOK:
        raise Failure(f"webhook {name} is always the configuration's, at /webhook: choose another name")
    if name in place.declared:
        raise Failure(f"webhook {name} is declared in the configuration already: choose another name")


def _check_names(settings: WebhookSettings, place: Place) -> None:
    """Refuse what is not there.

    Raises:
        Failure: An account, a signing key or a set of addresses; without a configuration only the last is known.
    """
    try:
        if place.settings is None:
            note("the configuration is not known here, so nothing says whether its accounts are there")
            AddressList(settings.allow)
        else:
            check_webhook((), settings, place.settings)
    except Misfit as error:
        raise Failure(_said(error)) from error
    except ValueError as error:
        raise Failure(f"--allow: {error}") from error


def _said(error: Misfit) -> str:
    """Return what does not fit, with the option in place of the key."""
    keys, _, remark = str(error).partition(": ")
    words = [key for key in keys.split(".") if not key.isdigit()]
    name = ".".join(words[:2]) if words[0] == "only" else words[0]
    option = _OPTIONS.get(name) or name.replace("_", "-")
    # What came is a list or a section to the configuration alone.
    return f"--{option}: {remark.removeprefix('got a list, ').removeprefix('got a section, ')}"


def _until(credential: Credential, end_ms: int) -> Credential:
    """Return a credential that ceases to be accepted then, or before."""
    own_ms = credential.expires_at_ms
    return msgspec.structs.replace(
        credential, expires_at_ms=end_ms if own_ms is None else min(own_ms, end_ms)
    )


def _is_accepted(credential: HashedSecret | HashedToken, now_ms: int) -> bool:
    return credential.expires_at_ms is None or credential.expires_at_ms > now_ms

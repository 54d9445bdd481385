"""`bascule preview`: what an alert in a file would do."""

import os
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import click

from cli.bridge_secrets import find_secret
from cli.context import Bridge, ask
from cli.documents import Document
from cli.exit_codes import ExitCode
from cli.filters import json_option
from cli.output import cell, note, span, write, write_json, write_table
from cli.send_body import content_type_of
from cli.symbols_table import configured_bridge, read_table
from libs.common.domain.errors import AdmissionError

if TYPE_CHECKING:
    from libs.common.policy.webhook import Webhook
    from libs.common.runtime.preview import Check, Preview
    from libs.common.runtime.settings import Settings
    from libs.common.store.readings import Readings
    from libs.common.store.tables import Tables
    from libs.common.wire.dialects.dialect import Document as Body
    from libs.common.wire.masking import Masker


@click.command(name="preview")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--webhook", default="default", show_default=True, help="The webhook that it would be posted to."
)
@json_option
def command(file: IO[bytes], webhook: str, as_json: bool) -> int:
    """Show what an alert would do, without posting it.

    FILE holds the message as TradingView would send it; - is stdin. Exit code 1 where it would be refused.
    """
    bridge, settings = configured_bridge()
    body = file.read()
    document = ask(bridge, lambda readings: _preview(readings, bridge, settings, webhook, body))
    if as_json:
        write_json(document)
    else:
        _show(document)
    return ExitCode.OK if document["ok"] else ExitCode.FAILED


@dataclass(frozen=True, slots=True)
class Target:
    """A webhook, as far as it can be known here."""

    webhook: "Webhook"
    missing: tuple[str, ...]
    """Variables of its credentials that are not set here."""
    has_own_key: bool
    """Whether its secret is the key of signatures too."""


async def _preview(
    readings: "Readings", bridge: Bridge, settings: "Settings", name: str, body: bytes
) -> Document:
    """Return the preview as `--json` shows it, without any credential.

    Raises:
        Failure: There is no such webhook.
        StoreUnavailable: Redis does not answer.
    """
    import orjson

    from libs.common.runtime.known_secrets import known_secrets
    from libs.common.wire.dialects.dialect import PLACEHOLDER
    from libs.common.wire.masking import Masker

    target = _find_target(bridge, settings, await readings.tables.read(), name)
    own = settings.webhooks.get(target.webhook.name)
    variables = (own.secret, own.token) if own is not None else ()
    secrets = {found for one in variables if one and (found := find_secret(bridge, one)) is not None}
    masker = Masker(known_secrets(settings, os.environ) | secrets)
    shown, presented = await _look(readings, settings, target, masker, body)
    masker = masker if presented == PLACEHOLDER else masker.also(presented)
    document: Document = masker.mask_values(orjson.loads(orjson.dumps(shown.document())))
    return document


async def _look(
    readings: "Readings", settings: "Settings", target: Target, masker: "Masker", body: bytes
) -> "tuple[Preview, str]":
    """Return the preview, and the credential that the body presents, empty where it has none."""
    from libs.common.runtime.preview import preview, refused
    from libs.common.runtime.routes import router_to
    from libs.common.wire.dialects.recognition import recognise

    webhook = target.webhook
    checks = _standing_checks(webhook)
    now_ms = await readings.now_ms()
    try:
        text = _text(body, webhook)
        recognised = recognise(body, content_type_of(body), webhook.dialect, webhook.options)
    except AdmissionError as error:
        return refused(webhook, error, checks), ""
    presented = recognised.credential
    checks = (*checks, _credential_check(target, recognised, now_ms))
    table = await read_table(readings, settings)
    # An alert is known where the first of its accounts is.
    owner = readings.of(webhook.accounts[0])
    shown = await preview(
        webhook,
        router_to(webhook, settings.accounts, table.symbols),
        owner.seen,
        readings.halts,
        recognised,
        text,
        masker.also(presented),
        checks,
        now_ms,
    )
    return shown, presented


def _text(body: bytes, webhook: "Webhook") -> str:
    """Return a body as text.

    Raises:
        AdmissionError: 413, it is too large; 400, it is not UTF-8.
    """
    from libs.common.web.body import too_large

    if len(body) > webhook.max_body_bytes:
        raise too_large(f"{len(body)} bytes", webhook.max_body_bytes)
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise AdmissionError(400, "not_utf8", f"byte {error.start} of the body is not UTF-8") from error


def _find_target(bridge: Bridge, settings: "Settings", tables: "Tables", name: str) -> Target:
    from cli.listing import refuse_unknown
    from libs.common.domain.ids import WebhookName
    from libs.common.runtime.webhooks import declared_webhook

    key = WebhookName(name)
    section = settings.webhooks.get(key)
    if section is None:
        made = tables.webhooks.get(key)
        if made is None:
            known = [*settings.webhooks, *sorted(tables.webhooks)]
            refuse_unknown("webhook", name, known)
            key = next(one for one in known if one.casefold() == name.casefold())
            return _find_target(bridge, settings, tables, key)
        return Target(made, (), has_own_key=False)
    found = {one: find_secret(bridge, one) for one in (section.secret, section.token) if one is not None}
    # Whatever stands in for a secret that is not known here is never compared with anything.
    webhook = declared_webhook(key, section, {one: value or "-" for one, value in found.items()})
    missing = tuple(one for one, value in found.items() if value is None)
    return Target(webhook, missing, has_own_key=section.secret is not None and not section.signing_keys)


def _standing_checks(webhook: "Webhook") -> "tuple[Check, ...]":
    """Return what a webhook demands of every post, whatever its body says."""
    from libs.common.policy.webhook import Demand
    from libs.common.runtime.preview import Check

    found = []
    if webhook.is_disabled:
        found.append(Check("webhook", passes=False, detail="it is disabled: posts to it are answered 404"))
    if webhook.allow:
        detail = f"not checked: posts are taken from {', '.join(webhook.allow)} only"
        found.append(Check("address", passes=True, detail=detail))
    if Demand.SIGNATURE in webhook.demands:
        detail = "not checked: a signature of the body in X-Signature is demanded"
        found.append(Check("signature", passes=True, detail=detail))
    if Demand.CERTIFICATE in webhook.demands:
        detail = "not checked: TradingView's client certificate is demanded"
        found.append(Check("certificate", passes=True, detail=detail))
    return tuple(found)


def _credential_check(target: Target, body: "Body", now_ms: int) -> "Check":
    from libs.common.policy.authentication import Credentials
    from libs.common.policy.webhook import Demand
    from libs.common.runtime.preview import Check
    from libs.common.wire.dialects.dialect import PLACEHOLDER

    webhook = target.webhook

    def check(passes: bool, detail: str) -> Check:
        return Check("credential", passes=passes, detail=detail)

    if Demand.SECRET not in webhook.demands:
        return check(True, "the webhook demands no secret in the body")
    can_sign = bool(webhook.signing_keys) or target.has_own_key
    if not body.credential:
        if webhook.tokens and not body.has_place and not (body.is_signed and can_sign):
            return check(True, "the URL's token is enough: the dialect has no place for a secret")
        if body.is_signed and can_sign:
            return check(True, "not checked: the dialect is signed in X-Signature")
        signed = "; a signature in X-Signature would do too" if can_sign else ""
        return check(False, f"it is missing: put the secret in {_place(body)}{signed}")
    if body.credential == PLACEHOLDER:
        return check(False, f"it is still {PLACEHOLDER}: put the secret in its place")
    if target.missing:
        return check(True, f"not checked: {' and '.join(target.missing)} is not set here")
    if Credentials(webhook.secrets).accept(body.credential, now_ms):
        return check(True, "it is the webhook's secret")
    return check(False, "it is not the webhook's secret")


def _place(body: "Body") -> str:
    """Return the field for a credential, in words."""
    from libs.common.wire.dialects.catalogue import BY_NAME
    from libs.common.wire.dialects.dialect import FREE_PLACES

    dialect = BY_NAME.get(body.dialect)
    own = None if dialect is None else dialect.credential
    return " or ".join(f'"{name}"' for name in (FREE_PLACES if own is None else (own,)))


def _show(document: Document) -> None:
    error, dedup = document["error"], document["dedup"]
    facts = (
        ("webhook", document["webhook"]),
        ("dialect", document["dialect"]),
        ("asks for", _asks(document["alert"])),
        ("ignores", _ignored(document)),
        ("is", None if dedup is None else _verdict(dedup)),
    )
    for label, value in facts:
        if value is not None:
            write(f"{label:<10}{cell(value)}")
    if document["accounts"]:
        write()
        rows = [
            (one["account"], one["state"], one["market"], one["lane"], one["because"])
            for one in document["accounts"]
        ]
        write_table(("ACCOUNT", "STATE", "MARKET", "LANE", "BECAUSE"), rows)
    if document["checks"]:
        write()
        verdicts = [
            (one["check"], "ok" if one["passes"] else "wrong", one["detail"]) for one in document["checks"]
        ]
        write_table(("CHECK", "VERDICT", "DETAIL"), verdicts)
    write()
    if error is not None:
        field = f' ("{cell(error["field"])}")' if error["field"] else ""
        write(f"would be refused: {error['status']} {cell(error['code'])}{field}: {cell(error['detail'])}")
    elif not document["ok"]:
        failed = ", ".join(one["check"] for one in document["checks"] if not one["passes"])
        write(f"would not be traded; what fails: {failed}")
    elif dedup["is_new"]:
        write("would be admitted")
    else:
        write("would be answered 200 as a duplicate, and not traded again")
    note("nothing was posted or stored")


def _asks(alert: dict[str, Any] | None) -> str | None:
    """Return the meaning of an alert in a line; None where it has none."""
    if alert is None:
        return None
    words = [alert["action"]]
    if "quantity" in alert:
        words += [alert["quantity"], str(alert.get("unit", "units")).replace("_", " ")]
    words.append(alert["symbol"])
    if "exchange" in alert:
        words += ["of", alert["exchange"]]
    if "price" in alert:
        words += ["at", alert["price"]]
    left_out = {"dialect", "action", "quantity", "unit", "symbol", "exchange", "price"}
    rest = [f"{name} {_value(value)}" for name, value in alert.items() if name not in left_out]
    return ", ".join([" ".join(words), *rest])


def _ignored(document: Document) -> str | None:
    """Return which fields do nothing, in a line; None where all are read."""
    names = document["ignored"]
    return f"{', '.join(names)}: not read by the dialect {document['dialect']}" if names else None


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(str(one) for one in value.values())
    return str(value)


def _verdict(dedup: dict[str, Any]) -> str:
    known_by = f"known by its {dedup['by']} for {span(dedup['window_ms'])}"
    if dedup["is_new"]:
        return f"new, {known_by}"
    return f"a repetition of alert {dedup['alert_id']}, {known_by}"

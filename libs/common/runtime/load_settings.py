"""Settings from a file and the environment, checked for what no section can see by itself."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from libs.common.domain.errors import ConfigError
from libs.common.domain.ids import AccountName
from libs.common.policy.addresses import ANY, NAMED_SETS, AddressList
from libs.common.runtime.account_settings import CcxtAccount, HttpAccount, PaperAccount
from libs.common.runtime.config_file import read_document
from libs.common.runtime.durations import format_duration
from libs.common.runtime.secrets import has_secret, read_secret
from libs.common.runtime.sections import Keys, Misfit, WrongValue, read_section
from libs.common.runtime.setting_values import VARIABLE, VARIABLE_FORM
from libs.common.runtime.settings import REQUEST_MARGIN_MS, Settings
from libs.common.runtime.webhook_settings import DEFAULT_WEBHOOK, Auth, WebhookSettings
from libs.common.wire.masking import MASK

SHORTEST_LEASE_MS: Final = 1_500

LONGEST_RECONCILE_MS: Final = 100_000
"""Positions read longer ago say nothing of an exposure: what was sent since is remembered for two minutes."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
"""What accounts and webhooks may be called."""
NAME_FORM: Final = "a name of at most 64 letters, digits, '_', '-' and '.', the first a letter or digit"


def load_settings(path: Path | str, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of a file.

    Args:
        path: The YAML file.
        environ: Where REDIS_URL (or REDIS_URL_FILE) and BASCULE_OPS_PORT may override it; None: nothing does.

    Raises:
        ConfigError: The file cannot be read, does not fit or contradicts itself; one line that says where.
    """
    path = Path(path)
    document = read_document(path)
    try:
        settings = read_section(Settings, document)
        _check(settings)
    except Misfit as error:
        raise ConfigError(f"{path}: {error}") from error
    return _override(settings, environ or {})


def settings_path(environ: Mapping[str, str]) -> Path:
    """Return the file that BASCULE_CONFIG names.

    Raises:
        ConfigError: It is not set.
    """
    value = environ.get("BASCULE_CONFIG", "")
    if not value:
        raise ConfigError(
            "BASCULE_CONFIG is not set; set it to your configuration file (config/demo.yaml is one)"
        )
    return Path(value)


def settings_from_environment(environ: Mapping[str, str]) -> Settings:
    """Return the settings of the file that BASCULE_CONFIG names, with what the environment overrides.

    Raises:
        ConfigError: As `settings_path` and `load_settings`.
    """
    return load_settings(settings_path(environ), environ)


def _override(settings: Settings, environ: Mapping[str, str]) -> Settings:
    if has_secret("REDIS_URL", environ):
        try:
            redis = msgspec.structs.replace(settings.redis, url=read_secret("REDIS_URL", environ).reveal())
        except WrongValue as error:
            raise ConfigError(f"REDIS_URL: expected {error.expected}") from error
        settings = msgspec.structs.replace(settings, redis=redis)
    if (text := environ.get("BASCULE_OPS_PORT")) is not None:
        if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65_535):
            raise ConfigError(f'BASCULE_OPS_PORT: got "{text}", expected a port from 1 to 65535')
        settings = msgspec.structs.replace(
            settings,
            ingress=msgspec.structs.replace(settings.ingress, ops_port=int(text)),
            worker=msgspec.structs.replace(settings.worker, ops_port=int(text)),
            reaper=msgspec.structs.replace(settings.reaper, ops_port=int(text)),
        )
    return settings


def _check(settings: Settings) -> None:
    """Refuse what no single section can see.

    Raises:
        Misfit: The first contradiction found.
    """
    _check_names(settings)
    _check_addresses(settings)
    _check_webhooks(settings)
    _check_symbols(settings)
    _check_times(settings)
    _check_venues(settings)
    _check_exposures(settings)


def _check_names(settings: Settings) -> None:
    if not settings.accounts:
        raise Misfit(("accounts",), "this key is required, with at least one account")
    for section, names in (("accounts", settings.accounts), ("webhooks", settings.webhooks)):
        for name in names:
            if NAME.fullmatch(name) is None:
                raise Misfit((section,), f'got "{name}", expected {NAME_FORM}')


def _check_webhooks(settings: Settings) -> None:
    if DEFAULT_WEBHOOK not in settings.webhooks:
        raise Misfit(("webhooks", DEFAULT_WEBHOOK), "this key is required: POST /webhook serves it")
    for name, webhook in settings.webhooks.items():
        keys = ("webhooks", name)
        if name == DEFAULT_WEBHOOK:
            if webhook.token is not None:
                raise Misfit((*keys, "token"), "POST /webhook has none; remove this key")
            if Auth.SECRET not in webhook.auth and Auth.SIGNATURE not in webhook.auth:
                remark = (
                    "expected secret or signature among them: nothing else tells our alerts from a stranger's"
                )
                raise Misfit((*keys, "auth"), remark)
        elif webhook.token is None:
            raise Misfit((*keys, "token"), "this key is required: the token makes the URL, /hooks/<token>")
        check_webhook(keys, webhook, settings)


def check_webhook(keys: Keys, webhook: WebhookSettings, settings: Settings) -> None:
    """Refuse a webhook that names what the other sections do not have.

    Args:
        keys: What an error begins with.
        webhook: One of the file, or one that is to be made at run time.
        settings: All sections.

    Raises:
        Misfit: The first name that is not there.
    """
    _check_accounts((*keys, "accounts"), webhook.accounts, settings)
    for key in webhook.signing_keys:
        if key not in settings.signing_keys:
            remark = (
                f'there is no signing key "{key}"; there are {", ".join(settings.signing_keys) or "none"}'
            )
            raise Misfit((*keys, "signing_keys"), remark)
    if Auth.CERTIFICATE in webhook.auth and not settings.ingress.certificate_proxies:
        remark = "certificate needs a proxy that verifies it: ingress.certificate_proxies names none"
        raise Misfit((*keys, "auth"), remark)
    try:
        AddressList(webhook.allow, {**NAMED_SETS, **settings.ingress.addresses})
    except ValueError as error:
        raise Misfit((*keys, "allow"), str(error)) from error


def _check_addresses(settings: Settings) -> None:
    ingress = settings.ingress
    for name, entries in ingress.addresses.items():
        keys: Keys = ("ingress", "addresses", name)
        if name == ANY or _is_address(name):
            raise Misfit(keys, "a set cannot be called that: it means something else in a list of addresses")
        _check_exact(keys, entries)
    _check_exact(("ingress", "trusted_proxies"), ingress.trusted_proxies, ingress.addresses)
    _check_exact(("ingress", "certificate_proxies"), ingress.certificate_proxies, ingress.addresses)


def _check_exact(keys: Keys, entries: Iterable[str], names: Iterable[str] = ()) -> None:
    """Refuse `any` and unknown names: a proxy that anybody can be is not to be believed."""
    known = tuple(names)
    for index, entry in enumerate(entries):
        if entry not in known and not _is_address(entry):
            expected = "an IP address or a CIDR block such as 10.0.0.0/8 without bits beyond its prefix"
            sets = f", or a set: {', '.join(known)}" if known else ""
            raise Misfit((*keys, index), f'got "{entry}", expected {expected}{sets}')


def _is_address(text: str) -> bool:
    try:
        AddressList([text], {})
    except ValueError:
        return False
    return text != ANY


def _check_accounts(keys: Keys, names: Iterable[AccountName], settings: Settings) -> None:
    for account in names:
        if account not in settings.accounts:
            raise Misfit(keys, f'there is no account "{account}"; there are {", ".join(settings.accounts)}')


def _check_symbols(settings: Settings) -> None:
    for index, entry in enumerate(settings.symbols):
        if entry.account is not None:
            _check_accounts(("symbols", index, "account"), [entry.account], settings)
    for name, variable in settings.signing_keys.items():
        if VARIABLE.fullmatch(variable) is None:
            raise Misfit(("signing_keys", name), f"got {MASK}, expected {VARIABLE_FORM}")


def _check_times(settings: Settings) -> None:
    lease_ms = settings.worker.lease_ms
    if lease_ms < SHORTEST_LEASE_MS:
        remark = f"got {format_duration(lease_ms)}, expected at least {format_duration(SHORTEST_LEASE_MS)}"
        raise Misfit(("worker", "lease"), remark)
    for name, account in settings.accounts.items():
        expiry_ms = account.request_expiry_ms
        if expiry_ms is not None and expiry_ms > lease_ms - REQUEST_MARGIN_MS:
            remark = (
                f"got {format_duration(expiry_ms)}, expected at most worker.lease ({format_duration(lease_ms)}) less "
                f"{format_duration(REQUEST_MARGIN_MS)}: a request must be dead before its lane moves to another worker"
            )
            raise Misfit(("accounts", name, "request_expiry"), remark)


def _check_exposures(settings: Settings) -> None:
    """Refuse a limit of the exposure that nobody would count: positions are summed where they are compared."""
    for name, account in settings.accounts.items():
        risk = account.risk
        limits = (risk, *risk.strategies.values(), *risk.symbols.values())
        if isinstance(account, PaperAccount) or all(one.max_exposure is None for one in limits):
            continue
        every_ms = account.reconcile_every_ms
        if every_ms is None or every_ms > LONGEST_RECONCILE_MS:
            remark = f"max_exposure counts positions where they are compared: at least every {format_duration(LONGEST_RECONCILE_MS)}"
            raise Misfit(("accounts", name, "reconcile", "every"), remark)


def _check_venues(settings: Settings) -> None:
    first: dict[tuple[str, ...], str] = {}
    venue: tuple[str, ...]
    for name, account in settings.accounts.items():
        if isinstance(account, HttpAccount):
            parts = urlsplit(account.url)
            venue = (f"{parts.scheme}://{parts.netloc}{parts.path}".lower().rstrip("/"), account.secret)
            what = "url and secret"
        elif isinstance(account, CcxtAccount):
            venue = (account.exchange, account.market_type, account.api_key, account.url or "")
            what = "exchange, market_type and api_key"
        else:
            continue
        if (other := first.setdefault(venue, name)) != name:
            remark = f"has the same {what} as accounts.{other}: they would race on one position"
            raise Misfit(("accounts", name), remark)

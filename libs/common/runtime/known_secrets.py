"""What must never show: every secret of the settings that this process was given, whichever service uses it."""

import contextlib
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from libs.common.domain.errors import ConfigError
from libs.common.runtime.account_settings import CcxtAccount, HttpAccount
from libs.common.runtime.secrets import read_secret
from libs.common.runtime.settings import Settings


def known_secrets(settings: Settings, environ: Mapping[str, str]) -> set[str]:
    """Return the secrets that settings name and the passwords in their addresses.

    One that is not set, or cannot be read, is left out: whoever needs it says so.
    """
    accounts = [
        account for account in settings.accounts.values() if isinstance(account, HttpAccount | CcxtAccount)
    ]
    found: set[str] = set()
    for name in settings.secret_names():
        with contextlib.suppress(ConfigError):
            found.add(read_secret(name, environ).reveal())
    if settings.alarms.url is not None and settings.alarms.url_variable is None:
        # Those of chat services are secrets as a whole.
        found.add(settings.alarms.url)
    for url in (settings.redis.url, *(account.url or "" for account in accounts)):
        found |= _passwords(url)
    return found


def _passwords(url: str) -> set[str]:
    """Return the password of an address and the `password=` in its query, as written and as meant."""
    parts = urlsplit(url)
    pairs = [pair.partition("=") for pair in parts.query.split("&")]
    written = {parts.password or "", *(value for key, _, value in pairs if key == "password")} - {""}
    return written | {unquote(value) for value in written}

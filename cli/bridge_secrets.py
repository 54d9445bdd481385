"""Secrets of a bridge, as far as its own environment or its `var/` gives them to us."""

import os
from pathlib import Path

from cli import webhook_secret
from cli.context import Bridge, var_directories


def find_secret(bridge: Bridge | None, variable: str) -> str | None:
    """Return a secret: from the environment, else of the default webhook the one that `make up` keeps; else None.

    Raises:
        ConfigError: It is there, but empty or not to be read.
    """
    from libs.common.runtime.secrets import has_secret, read_secret

    if has_secret(variable, os.environ):
        return read_secret(variable, os.environ).reveal()
    if variable != webhook_secret.VARIABLE:
        return None
    own = [] if bridge is None or bridge.var is None else [bridge.var]
    kept = webhook_secret.find_kept([*own, *var_directories(Path.cwd())])
    return None if kept is None else webhook_secret.read_kept(kept)


def default_variable(bridge: Bridge | None) -> str:
    """Return the variable of the default webhook's secret.

    Raises:
        ConfigError: The configuration cannot be read or does not fit.
    """
    from libs.common.runtime.webhook_settings import DEFAULT_WEBHOOK

    settings = None if bridge is None else bridge.settings()
    named = None if settings is None else settings.webhooks[DEFAULT_WEBHOOK].secret
    return named or webhook_secret.VARIABLE

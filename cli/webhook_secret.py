"""The webhook's secret that `make up` generates and keeps in `var/` when none is set."""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cli.places import is_there
from libs.common.domain.errors import ConfigError

VARIABLE: Final = "WEBHOOK_SECRET"
"""The one secret that is generated."""

_FILE_NAME: Final = "webhook-secret"


def kept_path(var: Path) -> Path:
    """Return where a `var/` keeps it."""
    return var / _FILE_NAME


def kept_secret(var: Path) -> str:
    """Return the secret that `var/` keeps for its owner alone; generated at the first call.

    Raises:
        ConfigError: The file is empty, or cannot be made or read.
    """
    path = kept_path(var)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{secrets.token_urlsafe(24)}\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigError(f"{path}: cannot be made: {error.strerror}") from error
    return read_kept(path)


def has_kept(var: Path) -> bool:
    """Return whether a `var/` keeps one, as far as we may look."""
    return is_there(kept_path(var))


def find_kept(directories: Iterable[Path]) -> Path | None:
    """Return the file of the first `var/` that keeps one."""
    return next((kept_path(var) for var in directories if has_kept(var)), None)


def read_kept(path: Path) -> str:
    """Return the secret in a file.

    Raises:
        ConfigError: It is empty, or cannot be read.
    """
    try:
        kept = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        remedy = f"run this as the user that `make up` runs as, or set {VARIABLE}"
        raise ConfigError(f"{path}: cannot be read: {reason}; {remedy}") from error
    if not kept:
        raise ConfigError(f"{path} is empty; remove it, and a new secret is generated")
    return kept

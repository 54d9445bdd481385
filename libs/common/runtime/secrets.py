"""Secrets: from the environment or a mounted file, never printed by accident."""

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from libs.common.domain.errors import ConfigError
from libs.common.wire.masking import MASK
from libs.common.wire.redis_url import URL_PASSWORDS


class Secret:
    """A value that shows itself only when asked to; `str`, `repr` and logs get `***`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not to be pickled or copied")


def read_secret(name: str, environ: Mapping[str, str]) -> Secret:
    """Return the secret in the variable `name`, or in the file that `name`_FILE points to.

    The file's trailing line ends are dropped, since most editors and `echo` add one.

    Raises:
        ConfigError: Neither is set, both are, or what they hold is empty or cannot be read.
    """
    file_name = f"{name}_FILE"
    value, path = environ.get(name), environ.get(file_name)
    if value is not None and path is not None:
        raise ConfigError(f"secret {name}: both {name} and {file_name} are set; unset one")
    if path == "":
        raise ConfigError(
            f"secret {name}: {file_name} is empty; expected the path of a file that holds it, or set {name}"
        )
    if path is not None:
        return Secret(_read_file(name, file_name, Path(path)))
    if value is None:
        raise ConfigError(f"secret {name}: set {name}, or {file_name} to a file that holds it")
    if not value.strip():
        raise ConfigError(f"secret {name}: the variable is empty")
    if not _is_utf8(value):
        raise ConfigError(f"secret {name}: the variable is not UTF-8")
    return Secret(value)


def has_secret(name: str, environ: Mapping[str, str]) -> bool:
    """Return whether the variable or its `_FILE` twin is set, whatever it holds."""
    return name in environ or f"{name}_FILE" in environ


def mask_url(url: str) -> str:
    """Return a URL with `***` in place of its password, and of every one in its query; of all that cannot be read as one."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    user, at, host = parts.netloc.rpartition("@")
    if at and ":" in user:
        host = f"{user.partition(':')[0]}:{MASK}@{host}"
    elif at:
        host = f"{user}@{host}"
    query = "&".join(
        f"{key}={MASK}" if key in URL_PASSWORDS else f"{key}{equals}{value}"
        for key, equals, value in (pair.partition("=") for pair in parts.query.split("&"))
    )
    # Not urlunsplit, which drops the slashes of `unix:///`.
    return f"{parts.scheme}://{host}{parts.path}" + (f"?{query}" if query else "")


def _is_utf8(value: str) -> bool:
    """Return whether a variable was UTF-8: Python keeps other bytes as halves of pairs, which nothing can send."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_file(name: str, file_name: str, path: Path) -> str:
    try:
        value = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"secret {name}: {file_name} points to {path}, which cannot be read: {reason}"
        ) from error
    if not value.strip():
        raise ConfigError(f"secret {name}: {file_name} points to {path}, which is empty")
    return value

"""The data directory of a Redis of our own: held by one server at a time, and never opened by an older one."""

import fcntl
import os
import re
import time
from pathlib import Path
from typing import Final

import msgspec

from libs.common.domain.errors import ConfigError
from libs.common.runtime.redis_binary import ServerBinary, dotted

LAST_COMMON: Final = (7, 2)
"""The last Redis whose files Valkey reads."""

_LOCK_PATIENCE_S: Final = 10.0


class DataVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What wrote a data directory last; kept beside the data in `version.json`."""

    server: str
    version: str

    def __str__(self) -> str:
        return f"{self.server} {self.version}"


def claim_data(data: Path, binary: ServerBinary) -> None:
    """Note that `binary` is about to serve the data directory, made where it is missing.

    Raises:
        ConfigError: The data was written by a newer server, which an older one may open as empty.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    note = data / "version.json"
    written = _read_note(note)
    # Redis 7.0 moved the append-only file into a directory, where 6.2 does not look.
    if written is None and (data / "appendonlydir").is_dir():
        written = DataVersion(server="redis", version="7.0.0")
    if written is not None and not _reads(binary, written):
        raise ConfigError(
            f"{data} was written by {written}, and {binary} ({binary.path}) may not read it: "
            f"put {written.server} {dotted(_numbers(written.version)[:2])} or newer on the PATH"
        )
    own = DataVersion(server=binary.flavour, version=dotted(binary.version))
    part = note.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(own))
    part.replace(note)


def lock_data(data: Path) -> int:
    """Return a descriptor that holds the data directory; the server inherits it and so holds it as long as it lives.

    A server whose launcher was killed may still be writing its last words: it is waited for.

    Raises:
        ConfigError: Another server keeps it.
    """
    descriptor = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline_s = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline_s:
                os.close(descriptor)
                raise ConfigError(f"another Redis server still runs on {data}; stop it first") from None
            time.sleep(0.05)
        else:
            return descriptor


def _read_note(path: Path) -> DataVersion | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=DataVersion)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}; it says which server wrote the data beside it"
        ) from error


def _reads(binary: ServerBinary, written: DataVersion) -> bool:
    wrote = _numbers(written.version)[:2]
    if binary.flavour == written.server:
        return binary.version[:2] >= wrote
    return binary.flavour == "valkey" and wrote <= LAST_COMMON


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))

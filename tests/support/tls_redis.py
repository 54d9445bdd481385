"""A Redis behind TLS, and certificates of both sides, good and bad."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer, find_tls_server
from tests.support.tools import missing_tool

HERE: Final = "IP:127.0.0.1"


@dataclass(frozen=True)
class Desk:
    """Certificates of both sides."""

    ours: Authority
    strangers: Authority
    directory: Path

    @classmethod
    def at(cls, directory: Path) -> "Desk":
        """Return one that keeps its files in a directory."""
        return cls(Authority(directory, "ours"), Authority(directory, "strangers"), directory)

    def issue(self, name: str, alternative: str = HERE, *, days: int = 2) -> tuple[Path, Path]:
        """Return a certificate that ours signed, and its key."""
        return self.ours.issue(name, f"/CN={name}", alternative, days=days)


@dataclass(frozen=True)
class TlsServer:
    """A server that listens on a TLS port and on a plain one."""

    server: RedisServer
    tls_port: int

    def address(self, host: str = "127.0.0.1", **files: Path) -> str:
        """Return where it is, with files for options such as `ssl_ca_certs`."""
        options = "&".join(f"{name}={path}" for name, path in files.items())
        return f"rediss://{host}:{self.tls_port}/0?{options}"


@contextmanager
def tls_server(desk: Desk, certificate: Path, key: Path, **options: str) -> Iterator[TlsServer]:
    """Run one with this certificate; `tls_auth_clients="yes"` is `tls-auth-clients yes`."""
    binary = find_tls_server() or missing_tool("a redis-server with TLS on the PATH", "tests of TLS to Redis")
    port = free_port()
    served = {
        "tls-port": str(port),
        "tls-cert-file": str(certificate),
        "tls-key-file": str(key),
        "tls-ca-cert-file": str(desk.ours.certificate),
        "tls-auth-clients": "no",
        **{name.replace("_", "-"): value for name, value in options.items()},
    }
    with RedisServer(binary, tcp=True, options=served) as server:
        yield TlsServer(server, port)

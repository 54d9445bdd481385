"""A real Caddy with the Caddyfile of this repository."""

import os
import shutil
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import httpx

from tests.support.children import spawn
from tests.support.eventually import eventually_sync
from tests.support.ports import free_port
from tests.support.tools import missing_tool

CADDYFILE: Final = Path(__file__).parents[2] / "Caddyfile"


def caddy_binary() -> str:
    """Return the program, or skip the test."""
    return shutil.which("caddy") or missing_tool("caddy", "tests with a real reverse proxy")


class Caddy:
    """Serves https://localhost with an authority of its own. Use as a context manager.

    Args:
        directory: For everything it writes.
        ingress: What it passes requests to, `host:port`.
        variables: More variables that the Caddyfile reads.
        has_access_log: Whether it logs every request, as operators may want it to.
    """

    def __init__(
        self,
        directory: Path,
        ingress: str,
        variables: Mapping[str, str] | None = None,
        *,
        has_access_log: bool = False,
    ) -> None:
        self._has_access_log = has_access_log
        self.port = free_port()
        self.plain_port = free_port()
        self.directory = directory
        self._binary = caddy_binary()
        self._variables = {
            "BASCULE_DOMAIN": "localhost",
            "BASCULE_INGRESS": ingress,
            "HOME": str(directory),
            "XDG_DATA_HOME": str(directory / "data"),
            "XDG_CONFIG_HOME": str(directory / "config"),
            **(variables or {}),
        }
        self._log = directory / "caddy.log"

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def __enter__(self) -> Self:
        # What differs from the file: free ports of the loopback address, and nothing outside the directory is touched.
        options = (
            "admin off",
            "skip_install_trust",
            "default_bind 127.0.0.1",
            f"http_port {self.plain_port}",
            f"https_port {self.port}",
        )
        before, brace, after = CADDYFILE.read_text().partition("\n{\n")
        assert brace, "the Caddyfile begins with its global options"
        if self._has_access_log:
            after = after.replace("{$BASCULE_DOMAIN} {\n", "{$BASCULE_DOMAIN} {\n\tlog\n")
        config = self.directory / "Caddyfile"
        config.write_text(before + brace + "".join(f"\t{option}\n" for option in options) + after)
        arguments: list[str | Path] = [self._binary, "run", "--config", config, "--adapter", "caddyfile"]
        with self._log.open("wb") as log:
            self._process = spawn(
                arguments, stdout=log, stderr=log, environment={**os.environ, **self._variables}
            )
        eventually_sync(self._is_ready, 20.0, 0.05, "Caddy answers")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def log(self) -> str:
        """Return everything it wrote."""
        return self._log.read_text(errors="replace")

    def client(self, certificate: tuple[Path, Path] | None = None) -> httpx.AsyncClient:
        """Return a client that believes this server alone; with a certificate and its key, it presents that."""
        authority = self.directory / "data/caddy/pki/authorities/local/root.crt"
        tls = ssl.create_default_context(cafile=authority)
        if certificate is not None:
            tls.load_cert_chain(*certificate)
        return httpx.AsyncClient(base_url=self.url, verify=tls, timeout=10.0, trust_env=False)

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, f"Caddy ended:\n{self.log()}"
        if "serving initial configuration" not in self.log():
            return False
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        try:
            httpx.get(f"{self.url}/nothing", verify=tls, trust_env=False)
        except httpx.ConnectError:  # its own certificate is not made yet
            return False
        except (httpx.TransportError, ssl.SSLError):  # it wants a certificate of ours
            return True
        return True

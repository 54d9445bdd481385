"""Certificates made for the occasion."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.support.tools import missing_tool

TRADINGVIEW_SUBJECT: Final = "/C=US/ST=Ohio/L=Westerville/O=TradingView, Inc./CN=TradingView Webhooks"
TRADINGVIEW_EMAIL: Final = "webhook-server@tradingview.com"


class Authority:
    """A certificate authority, made with openssl."""

    def __init__(self, directory: Path, name: str) -> None:
        self._binary = shutil.which("openssl") or missing_tool("openssl", "tests with certificates")
        self._directory = directory
        self.certificate = directory / f"{name}.pem"
        self._key = directory / f"{name}.key"
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-keyout", self._key, "-out", self.certificate),
        )

    def issue(self, name: str, subject: str, alternative: str, *, days: int = 2) -> tuple[Path, Path]:
        """Return a certificate for either side of a connection, and its key.

        Args:
            name: Of its files.
            subject: As openssl writes it: `/O=Example/CN=example`.
            alternative: The alternative name, `email:...` or `IP:...`.
            days: How long it holds; -1 for one that has expired.
        """
        key, request, certificate, extensions = (
            self._directory / f"{name}.{kind}" for kind in ("key", "csr", "pem", "ext")
        )
        extensions.write_text(f"subjectAltName={alternative}\nextendedKeyUsage=clientAuth,serverAuth\n")
        self._openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", subject, "-keyout", key, "-out", request),
        )
        self._openssl(
            *(
                "x509",
                "-req",
                "-in",
                request,
                "-CA",
                self.certificate,
                "-CAkey",
                self._key,
                "-CAcreateserial",
            ),
            *("-days", str(days), "-extfile", extensions, "-out", certificate),
        )
        return certificate, key

    def _openssl(self, *arguments: str | Path) -> None:
        subprocess.run([self._binary, *arguments], check=True, capture_output=True, timeout=30)

"""Whom outgoing calls over TLS trust."""

import os
import ssl

import httpx

from libs.common.domain.errors import ConfigError


def trust_context() -> ssl.SSLContext:
    """Return what trusts the authorities of SSL_CERT_FILE or SSL_CERT_DIR, else those that browsers do.

    Raises:
        ConfigError: SSL_CERT_FILE names none.
    """
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        is_none = isinstance(error, ssl.SSLError)
        reason = "it holds no certificate" if is_none else error.strerror
        path = os.environ.get("SSL_CERT_FILE", "")
        raise ConfigError(
            f"SSL_CERT_FILE: {path} cannot be used: {reason}; expected a file of certificates, in PEM"
        ) from error

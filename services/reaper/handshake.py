"""What a client of our public address sees of its certificate."""

import asyncio
import ssl
from typing import Final

from libs.common.policy.expiry import Look, NotValid, Seen, Unreachable

TIMEOUT_S: Final = 10.0


async def look_at(host: str, port: int, *, timeout_s: float = TIMEOUT_S) -> Look:
    """Make a TLS handshake as TradingView would, and return what it showed.

    Args:
        host: Whose certificate it must be.
        port: Where it answers.
        timeout_s: For all of it.
    """
    try:
        async with asyncio.timeout(timeout_s):
            # Reading all the certificates of authorities takes a while; they may be renewed too.
            tls = await asyncio.to_thread(ssl.create_default_context)
            _, writer = await asyncio.open_connection(host, port, ssl=tls, server_hostname=host)
            try:
                shown = writer.get_extra_info("peercert") or {}
            finally:
                writer.transport.abort()
        return Seen(
            int(ssl.cert_time_to_seconds(str(shown["notBefore"]))) * 1_000,
            int(ssl.cert_time_to_seconds(str(shown["notAfter"]))) * 1_000,
        )
    except ssl.SSLCertVerificationError as error:
        return NotValid(error.verify_message or str(error))
    except TimeoutError:
        return Unreachable(f"no answer within {timeout_s:g} s")
    except (OSError, KeyError, ValueError) as error:
        return Unreachable(str(error) or type(error).__name__)

"""Which services a bridge has, as far as we could find out, and what each of them has counted."""

import asyncio
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cli.addresses import local_url, reachable
from cli.context import Bridge
from cli.figures import Counts, Look, Service, parse_counts
from cli.ports import WORKERS

if TYPE_CHECKING:
    import httpx

TIMEOUT_S: Final = 1.0
"""For one service to show its metrics; all are asked at once."""

_LONGEST_BYTES: Final = 8_000_000


def known_services(bridge: Bridge, live_workers: int = 0) -> list[Service]:
    """Return the services whose addresses we know: those that are named, or that `make up` runs, or of the configuration.

    Args:
        bridge: Whose they are.
        live_workers: How many Redis knows of: of a configuration alone so many are looked for.

    Raises:
        ConfigError: The configuration cannot be read or does not fit.
    """
    if bridge.named_ops:
        return [one for url in bridge.named_ops for one in _behind(url)]
    settings, record = bridge.settings(), bridge.record
    # Where the ingress is elsewhere than its configuration says, the others are too.
    if settings is None or (record is None and bridge.named_ingress is not None):
        return []
    hosts = {
        "ingress": settings.ingress.ops_host,
        "worker": settings.worker.ops_host,
        "reaper": settings.reaper.ops_host,
    }
    if record is not None:
        return [
            Service(name, local_url(hosts.get(name.partition("-")[0], ""), port))
            for name, port in record.ops.items()
        ]
    first = settings.worker.ops_port
    return [
        Service("ingress", local_url(hosts["ingress"], settings.ingress.ops_port)),
        *(
            Service(f"worker-{number}", local_url(hosts["worker"], first + number), is_sure=False)
            for number in range(max(WORKERS, live_workers) + 1)
        ),
        Service("reaper", local_url(hosts["reaper"], settings.reaper.ops_port)),
    ]


def ask_services(
    services: Sequence[Service], live_workers: int = 0
) -> tuple[Look, list[Service], Mapping[Service, str]]:
    """Return what services have counted, which were there, and why some of these tell nothing.

    Args:
        services: All are asked at once, for a second.
        live_workers: How many Redis knows of: where fewer are found among those that are looked for, that is said.
    """
    answers = asyncio.run(_ask_all(services))
    counts = {one.url: answer for one, answer in answers.items() if not isinstance(answer, str)}
    silent = {one: answer for one, answer in answers.items() if isinstance(answer, str)}
    asked = [one for one in services if one.is_sure or one not in silent]
    found = sum(not one.is_sure for one in asked)
    missing = live_workers - found
    if missing > 0 and any(not one.is_sure for one in services):
        nowhere = Service(f"{missing} of {live_workers} workers", "")
        silent[nowhere] = "not at worker.ops_port, nor at the ports that follow it"
        asked.append(nowhere)
    return Look(time.monotonic(), counts), asked, silent


async def _ask_all(services: Sequence[Service]) -> dict[Service, Counts | str]:
    import httpx

    # No address has TLS; httpx would read all authorities at each look.
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_S, verify=tls) as client:
        answers = await asyncio.gather(*(_ask(client, one.url) for one in services))
    return dict(zip(services, answers, strict=True))


async def _ask(client: "httpx.AsyncClient", url: str) -> Counts | str:
    """Return what the service at an address has counted, or in words why that is not known."""
    import httpx

    try:
        async with asyncio.timeout(TIMEOUT_S), client.stream("GET", f"{url}/metrics") as answer:
            if not answer.is_success:
                return f"answers {answer.status_code}"
            body = b""
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > _LONGEST_BYTES:
                    return f"its metrics are longer than {_LONGEST_BYTES} bytes"
        return parse_counts(body.decode(errors="replace"))
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        return f"does not answer: {str(error) or type(error).__name__}"
    except ValueError as error:
        return str(error)


def _behind(url: str) -> list[Service]:
    """Return each process behind an address: a name may stand for several."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    try:
        found = socket.getaddrinfo(reachable(host), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return [Service(host, url)]  # asked in vain, and named with the reason
    # Of one family alone: the same process may be reached by both.
    family = min(one[0] for one in found)
    addresses = sorted({str(address[0]) for kind, *_, address in found if kind == family})
    several = len(addresses) > 1
    return [
        Service(f"{host}-{number}" if several else host, local_url(address, port))
        for number, address in enumerate(addresses, 1)
    ]

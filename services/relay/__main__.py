"""Runs the relay: `python -m services.relay`; with `--path` prints the path that it takes posts on, and ends."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from libs.common.domain.errors import ConfigError
from libs.common.runtime.ops import ops_server
from libs.common.runtime.service import EXIT_FAILED, EXIT_OK, Process, run_process
from libs.common.runtime.trust import trust_context
from libs.common.telemetry.relay_metrics import RelayMetrics
from libs.common.telemetry.server_metrics import ServerMetrics
from libs.common.web.health import HealthEndpoint, always_healthy
from libs.common.web.server import HttpServer
from services.relay.app import relay_app
from services.relay.endpoint import RelayEndpoint
from services.relay.refusals import Refusals
from services.relay.settings import RelaySettings, relay_settings
from services.relay.upstream import Upstream

DRAIN_S: Final = 5
"""The time that posts under way have to be answered after SIGTERM; longer than any of them may take."""

_USAGE: Final = "usage: python -m services.relay [--path]"
_EXIT_USAGE: Final = 2


async def main(process: Process, settings: RelaySettings) -> None:
    """Pass posts on until `stopping` is set, then answer those under way."""
    metrics = RelayMetrics(process.registry)
    refusals = Refusals(metrics, process.clock)
    upstream = Upstream(settings.upstream, settings.signing_key, trust_context())
    endpoint = RelayEndpoint(
        upstream,
        token=settings.token,
        allow=settings.allow,
        trusted_proxies=settings.trusted_proxies,
        max_body_bytes=settings.max_body_bytes,
        timeout_ms=settings.timeout_ms,
        refusals=refusals,
        metrics=metrics,
    )
    app = relay_app(endpoint, HealthEndpoint(process.name, always_healthy), refusals)
    counts = ServerMetrics(process.registry)
    server = HttpServer(app, settings.host, settings.port, drain_s=DRAIN_S, metrics=counts)
    ops = ops_server(
        process.name, process.registry, settings.ops_host, settings.ops_port, ready=always_healthy
    )
    try:
        # In this order: whoever finds it ready may post at once.
        await server.start()
        await ops.start()
        process.started(
            port=server.port,
            ops_port=ops.port,
            upstream=settings.upstream_origin,
            allow=repr(settings.allow),
            # The token itself is masked in every line: `--path` shows it.
            path=settings.path,
            token_from="RELAY_SIGNING_KEY" if settings.is_token_derived else "RELAY_TOKEN",
        )
        await process.stopping.wait()
    finally:
        await server.stop()
        await ops.stop()
        await upstream.aclose()


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the relay, or print its path, and return the exit code."""
    match list(arguments):
        case []:
            return run_process(
                "relay", main, load=lambda: relay_settings(environ), secrets_of=RelaySettings.secrets
            )
        case ["--path"]:
            return _print_path(environ)
    sys.stderr.write(f"{_USAGE}\n")
    return _EXIT_USAGE


def _print_path(environ: Mapping[str, str]) -> int:
    try:
        sys.stdout.write(f"{relay_settings(environ).path}\n")
    except ConfigError as error:
        sys.stderr.write(f"relay: {error}\n")
        return EXIT_FAILED
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], os.environ))

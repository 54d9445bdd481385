"""Whether and how spans are exported, by the standard `OTEL_*` variables."""

import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final
from urllib.parse import unquote

import msgspec

from libs.common.domain.errors import ConfigError
from libs.common.telemetry.trace_sampler import Sampler, sampler_of
from libs.common.wire.web_address import is_web_address, without_credentials

GRPC: Final = "grpc"
HTTP: Final = "http/protobuf"
DEFAULT_PROTOCOL: Final = HTTP

DEFAULT_QUEUE: Final = 8_192
DEFAULT_BATCH: Final = 512
DEFAULT_DELAY_MS: Final = 1_000

SHORTEST_SECRET: Final = 8
"""Characters, of a header's value that is masked."""

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HEADERS: Final = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_GRPC_EXPORTER: Final = "opentelemetry.exporter.otlp.proto.grpc"


class TracingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the tracing of one process goes by."""

    endpoint: str
    """Where spans go, without credentials: for people."""
    sampler: Sampler
    protocol: str
    """`http/protobuf` or `grpc`."""
    queue: int
    """The most spans that wait for their export; what comes beyond is dropped."""
    batch: int
    """The most in one request."""
    delay_ms: int
    """How long a span waits for others."""


def tracing_settings(environ: Mapping[str, str]) -> TracingSettings | None:
    """Return how spans are exported; None where they are not.

    Raises:
        ConfigError: A variable says what cannot be done.
    """
    if not _first(environ, _ENDPOINTS) or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if exporter == "none":
        return None
    if exporter != "otlp":
        raise ConfigError(f'OTEL_TRACES_EXPORTER: "{exporter}" is not one of otlp, none')
    queue = _count(environ, "OTEL_BSP_MAX_QUEUE_SIZE", DEFAULT_QUEUE)
    return TracingSettings(
        endpoint=without_credentials((_first(environ, _ENDPOINTS) or ("", ""))[1]),
        sampler=sampler_of(environ),
        protocol=_protocol(environ),
        queue=queue,
        batch=min(queue, _count(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", DEFAULT_BATCH)),
        delay_ms=_count(environ, "OTEL_BSP_SCHEDULE_DELAY", DEFAULT_DELAY_MS),
    )


def exporter_secrets(environ: Mapping[str, str]) -> set[str]:
    """Return what must never show of how spans are exported: the values of its headers, and passwords in addresses."""
    headers = {
        value.strip()
        for name in _HEADERS
        for _, equals, value in (pair.partition("=") for pair in environ.get(name, "").split(","))
        if equals
    }
    passwords = {
        found[1] for name in _ENDPOINTS if (found := re.search(r"//[^/@:]*:([^/@]+)@", environ.get(name, "")))
    }
    written = headers | passwords
    meant = written | {unquote(value) for value in written}
    # `Bearer` and its like say nothing; a tenant's number or a flag would garble every line.
    words = meant | {word for value in meant for word in value.split()}
    return {word for word in words if len(word) >= SHORTEST_SECRET}


def _protocol(environ: Mapping[str, str]) -> str:
    name, protocol = _first(environ, _PROTOCOLS) or (_PROTOCOLS[-1], DEFAULT_PROTOCOL)
    if protocol not in (HTTP, GRPC):
        raise ConfigError(f'{name}: "{protocol}" is not one of {HTTP}, {GRPC}')
    if protocol == HTTP:
        _check_address(*(_first(environ, _ENDPOINTS) or ("", "")))
    if protocol == GRPC and not _is_installed(_GRPC_EXPORTER):
        raise ConfigError(
            f"{name}: grpc needs the extra `otlp-grpc`, which is not installed: "
            "`make up EXTRAS=otlp-grpc`, or take http/protobuf"
        )
    return protocol


def _check_address(name: str, address: str) -> None:
    if not is_web_address(address):
        raise ConfigError(
            f'{name}: "{without_credentials(address)}" is no address such as http://127.0.0.1:4318'
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str] | None:
    """Return the first variable that is set, and what it says."""
    return next(((name, value) for name in names if (value := environ.get(name, "").strip())), None)


def _count(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1_000_000:
        raise ConfigError(f'{name}: "{text}" is not a whole number from 1 to 1000000')
    return int(text)

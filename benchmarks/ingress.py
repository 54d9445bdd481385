"""The ingress against its limits: bare Starlette, bare ASGI and raw XADD. Same core, same load, turn by turn.

Traced as well: three ingresses take turns, one without tracing, one that traces every tenth alert, one that traces all.
"""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.cores import (
    QUIET_SHARE,
    Cores,
    busy_s,
    cpu_s,
    family,
    family_cpu_s,
    resident_mb,
    running_on,
    share_out,
    wait_until_idle,
)
from benchmarks.effort import Effort, Measured
from benchmarks.figures import Figure, Spread
from benchmarks.limits import Limit, raw_in
from benchmarks.load import Load, client_name, post
from benchmarks.private_redis import private_redis
from benchmarks.servers import Target, bare_server, empty, ingress_server
from benchmarks.sink import Sink
from tests.support.redis_server import RedisServer

CONNECTIONS = 64
WARM_UP_S = 1
RATIO, TRACED_RATIO = 0.5, 0.35
"""Of bare Starlette's throughput, with every feature on and an fsync on every write."""
MEMORY_MB = 80

ASGI, BARE, DEFAULT, RAW = "asgi", "bare", "ingress", "xadd"
SAMPLED: Mapping[str, str] = {"traced10": "0.1", "traced100": "1.0"}
NAMES = {
    BARE: "bare Starlette",
    ASGI: "bare ASGI",
    RAW: "raw XADD, 64 a round trip",
    DEFAULT: "ingress",
    "traced10": "ingress, 10 % traced",
    "traced100": "ingress, all traced",
}

IDLE_S, TAIL_S = 1.3, 8.0
"""Spans leave in batches, once a second at the latest: a server has ended its turn when it has been idle for longer than
that. The work belongs to the posts that caused it, and must not fall into the next one's turn. At most `TAIL_S`."""


@dataclass(frozen=True)
class Run:
    """One turn of one server."""

    server: str
    load: Load
    per_s: float
    cpu_us: float
    """Processor time of the server per request, microseconds: what other processes on the machine disturb least. With
    that of processes it started, as an exporter of spans, and with what was still done after the last answer."""
    redis_us: float
    """Processor time of Redis per request, microseconds."""
    server_share: float
    """Of its core, until the last answer."""
    redis_share: float
    strangers_share: float
    """Of one core, used by processes that have nothing to do with it."""


def measure(effort: Effort) -> Measured:
    """Return the figures, and every run behind them."""
    cores = share_out()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bascule-bench-")))
        redis = stack.enter_context(private_redis(cores))
        with running_on(cores.others):
            sink = stack.enter_context(Sink())
        targets = [
            stack.enter_context(bare_server(BARE, "benchmarks.bare", cores)),
            stack.enter_context(bare_server(ASGI, "benchmarks.bare_asgi", cores)),
        ]
        ingresses = {
            name: stack.enter_context(ingress_server(name, cores, redis, directory, _environment(sink, name)))
            for name in (DEFAULT, *SAMPLED)
        }
        targets += [target for target, _ in ingresses.values()]
        found: dict[str, list[Run]] = {target.name: [] for target in targets}
        raw: list[Limit] = []
        for turn in range(effort.runs + 1):
            effort.patience.wait()
            for target in targets:
                run = run_turn(
                    target, f"{target.name}{turn}", redis, cores, effort.seconds if turn else WARM_UP_S
                )
                if turn:
                    found[target.name].append(run)
                    print(
                        f"  {turn}/{effort.runs} {target.name:9} {run.per_s:9,.0f}/s {run.cpu_us:7.1f} us each",
                        flush=True,
                    )
            if turn:
                raw.append(raw_in(redis, cores.server, batch=CONNECTIONS, seconds=effort.seconds))
                print(f"  {turn}/{effort.runs} {RAW:9} {raw[-1].per_s:9,.0f}/s", flush=True)
        memory_mb = {target.name: sum(resident_mb(pid) for pid in family(target.pid)) for target in targets}
        exported = sink.bytes_by_sender()
        dropped = {name: ingresses[name][1].metric("bascule_spans_dropped_total") for name in SAMPLED}
        version = ".".join(map(str, redis.version))
    circumstances = {
        "redis": version,
        "client": client_name(),
        "connections": CONNECTIONS,
        "exported_bytes": exported,
        "dropped_spans": dropped,
        "names": NAMES,
    }
    runs: dict[str, Any] = {name: [asdict(run) for run in some] for name, some in found.items()}
    runs[RAW] = [{**asdict(limit), "per_s": limit.per_s} for limit in raw]
    return Measured(_figures(found, raw, memory_mb, exported, dropped), runs, circumstances)


def _environment(sink: Sink, name: str) -> dict[str, str]:
    if name not in SAMPLED:
        return {}
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.address_for(name),
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": SAMPLED[name],
    }


def run_turn(target: Target, run: str, redis: RedisServer, cores: Cores, seconds: int) -> Run:
    """Post to one server for some seconds, on an empty Redis, and check that what it answered is on disk."""
    pid = target.pid
    client: Any = redis.client(socket_timeout=60.0)
    empty(redis)
    before_s, redis_before_s, busy_before_s = family_cpu_s(pid), cpu_s(redis.pid), busy_s()
    with running_on(cores.others):
        load = post(
            target.port,
            run,
            connections=CONNECTIONS,
            seconds=seconds,
            path=target.path,
            secret=target.secret,
        )
    used_s, redis_used_s = family_cpu_s(pid) - before_s, cpu_s(redis.pid) - redis_before_s
    strangers_s = busy_s() - busy_before_s - used_s - redis_used_s - load.client_share * load.seconds
    if load.failures:
        raise RuntimeError(
            f"{load.failures} of {load.requests} posts to {target.name} were not answered with 2xx"
        )
    # Every answer must be an alert on disk; those under way at the end are there without a counted answer.
    kept = client.xlen("bascule:{s0}:journal")
    if target.is_durable and kept < load.requests:
        raise RuntimeError(f"{load.requests} alerts were answered, {kept} are in the journal")
    wait_until_idle(pid, idle_s=IDLE_S if target.is_traced else 0.1, longest_s=TAIL_S)
    return Run(
        server=target.name,
        load=load,
        per_s=load.per_s,
        cpu_us=(family_cpu_s(pid) - before_s) / load.requests * 1e6,
        redis_us=redis_used_s / load.requests * 1e6,
        server_share=used_s / load.seconds,
        redis_share=redis_used_s / load.seconds,
        strangers_share=strangers_s / load.seconds,
    )


def _figures(
    found: dict[str, list[Run]],
    raw: list[Limit],
    memory_mb: dict[str, float],
    exported: dict[str, int],
    dropped: dict[str, float],
) -> list[Figure]:
    bare, ingress = found[BARE], found[DEFAULT]
    figures = [
        *_ratios("ingress / bare Starlette", ingress, bare, RATIO),
        *_traced_ratios("traced10", found, exported, None),
        *_traced_ratios("traced100", found, exported, TRACED_RATIO),
        *_ratios("ingress / bare ASGI", ingress, found[ASGI], None),
        Figure(
            "ingress / raw XADD",
            Spread.of(own.per_s / limit.per_s for own, limit in zip(ingress, raw, strict=True)),
            digits=3,
        ),
    ]
    for name, runs in found.items():
        what = NAMES[name]
        figures += [
            Figure(what, Spread.of(run.per_s for run in runs), "alerts/s"),
            Figure(f"{what}, processor time", Spread.of(run.cpu_us for run in runs), "us/alert", digits=1),
            _detail("  of Redis", [run.redis_us for run in runs], "us/alert", 1),
            _detail("  share of its core", [run.server_share for run in runs], "", 2),
            _detail("  Redis' share", [run.redis_share for run in runs], "", 2),
            _detail("  the client's share", [run.load.client_share for run in runs], "", 2),
            _detail("  strangers, cores", [run.strangers_share for run in runs], "", 2),
            _detail("  p50 at full load", [run.load.p50_ms for run in runs], "ms", 1),
            _detail("  p99 at full load", [run.load.p99_ms for run in runs], "ms", 1),
        ]
    figures += [
        Figure(NAMES[RAW], Spread.of(limit.per_s for limit in raw), "alerts/s"),
        Figure(
            "ingress, resident memory at full load", Spread.of([memory_mb[DEFAULT]]), "MB", most=MEMORY_MB
        ),
    ]
    for name in SAMPLED:
        what, alerts = NAMES[name], sum(run.load.requests for run in found[name])
        figures += [
            Figure(f"{what}, with its exporter, resident", Spread.of([memory_mb[name]]), "MB"),
            Figure(f"{what}, exported", Spread.of([exported.get(name, 0) / alerts]), "bytes/alert"),
            Figure(f"{what}, dropped", Spread.of([dropped[name] / alerts]), "spans/alert", digits=3),
        ]
    return figures


def _traced_ratios(
    name: str, found: dict[str, list[Run]], exported: dict[str, int], target: float | None
) -> list[Figure]:
    what = f"{NAMES[name]} / bare Starlette"
    if exported.get(name):
        return _ratios(what, found[name], found[BARE], target)
    # Then it was not traced, and a target would be reached for nothing.
    return _ratios(f"{what} (nothing was exported)", found[name], found[BARE], None)


def _ratios(what: str, own: list[Run], other: list[Run], target: float | None) -> list[Figure]:
    pairs = list(zip(own, other, strict=True))
    quiet = [
        one.per_s / two.per_s
        for one, two in pairs
        if max(one.strangers_share, two.strangers_share) < QUIET_SHARE
    ]
    figures = [Figure(what, Spread.of(one.per_s / two.per_s for one, two in pairs), "", target, 3)]
    if quiet and len(quiet) < len(pairs):
        figures.append(Figure(f"  the same, {len(quiet)} quiet turns", Spread.of(quiet), "", target, 3))
    by_cpu = Spread.of(two.cpu_us / one.cpu_us for one, two in pairs)
    return [*figures, Figure("  the same, by processor time", by_cpu, "", None, 3)]


def _detail(what: str, values: list[float], unit: str, digits: int) -> Figure:
    return Figure(what, Spread.of(values), unit, digits=digits, is_detail=True)

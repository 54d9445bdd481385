"""`bascule check`: whether configuration, secrets and Redis are fit for the bridge to run."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cli import webhook_credentials, webhook_secret
from cli.alarms import alarm_findings
from cli.context import (
    CORRECT_VARIABLE,
    NO_BRIDGE_YET,
    Bridge,
    Misnamed,
    default_config,
    find_bridge,
    no_answer,
    run,
    var_directories,
)
from cli.filters import json_option
from cli.findings import Finding, Verdict, ok, report, skipped, warning, wrong
from cli.output import Failure
from cli.webhook_url import url_warnings
from libs.common.domain.errors import BridgeError, ConfigError, StoreBarred, StoreCorrupt, StoreUnavailable

if TYPE_CHECKING:
    from libs.common.runtime.settings import LimitsSettings, Settings
    from libs.common.store.checks import ServerFacts
    from libs.common.store.readings import Readings
    from libs.common.store.servers import Server

CORRECT_ADDRESS: Final = (
    "correct it: redis://host:port/0, rediss://host:port/0, unix:///path, with Sentinels "
    "redis+sentinel://host:port,host:port/service, or of a Redis Cluster redis+cluster://host:port,host:port"
)
CORRECT_IT: Final = "correct it; config/bascule.yaml explains every key"


@click.command(name="check")
@click.option(
    "--connect", "is_connecting", is_flag=True, help="Ask the venue of every account too; nothing is traded."
)
@json_option
def command(is_connecting: bool, as_json: bool) -> int:
    """Check configuration, secrets and what Redis promises."""
    found = findings()
    return report(found + (_venues(found) if is_connecting else []), as_json=as_json)


def findings() -> list[Finding]:
    """Return what was found, in the order in which it would stop the bridge from starting."""
    try:
        bridge = find_bridge()
    except Misnamed as error:
        return [wrong("environment", str(error), CORRECT_VARIABLE)]
    except ConfigError as error:
        return [wrong("configuration", str(error), CORRECT_IT)]
    except Failure:
        return [*_unstarted(), skipped("redis", NO_BRIDGE_YET)]
    found: list[Finding] = []
    try:
        settings = bridge.settings()
    except ConfigError as error:
        settings = None
        found.append(wrong("configuration", str(error), CORRECT_IT))
    else:
        found.append(_loaded(bridge.config, settings))
    if settings is not None:
        found += [*_public_url(settings), *secret_findings(settings, bridge), *_extras(settings), *_tracing()]
        found += alarm_findings(settings)
    return found + _redis(bridge, settings)


def _venues(found: list[Finding]) -> list[Finding]:
    """Return what the venues say, where the configuration could be read."""
    from cli.check_connect import connect_findings

    if any(one.subject in {"configuration", "environment"} and one.verdict is Verdict.WRONG for one in found):
        return [skipped("connect", "there is no configuration to go by")]
    try:
        bridge: Bridge | None = find_bridge()
    except Failure:
        bridge = None
    config = default_config(Path.cwd()) if bridge is None or bridge.config is None else bridge.config
    if config is None:
        return [skipped("connect", "there is no configuration to go by")]
    return connect_findings(bridge, config)


def _unstarted() -> list[Finding]:
    """Return whether `make up` could run here."""
    from libs.common.runtime.load_settings import load_settings

    config = default_config(Path.cwd())
    if config is None:
        return [_loaded(None, None)]
    try:
        settings = load_settings(config)
    except ConfigError as error:
        return [wrong("configuration", str(error), CORRECT_IT)]
    return [
        _loaded(config, settings),
        *_public_url(settings),
        *secret_findings(settings, None),
        *_extras(settings),
        *_tracing(),
        *alarm_findings(settings),
    ]


def _extras(settings: "Settings") -> list[Finding]:
    from libs.common.runtime.extras import check_extras

    try:
        check_extras(settings)
    except ConfigError as error:
        return [wrong("extras", str(error), "install it, or take the account out")]
    return []


def _why_off() -> str:
    for name, value in (("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")):
        if os.environ.get(name, "").strip().lower() == value:
            return f": {name} is {value} here"
    return ": OTEL_EXPORTER_OTLP_ENDPOINT is not set here"


def _tracing() -> list[Finding]:
    """Return whether services that get the variables of this shell trace, where to, and whether they could."""
    from libs.common.telemetry.tracing_check import exporter_problems
    from libs.common.telemetry.tracing_settings import tracing_settings

    remedy = "correct it, or unset OTEL_EXPORTER_OTLP_ENDPOINT"
    try:
        settings = tracing_settings(os.environ)
    except ConfigError as error:
        return [wrong("tracing", str(error), remedy)]
    if settings is None:
        return [ok("tracing", f"off{_why_off()}; a bridge goes by the variables it was started with")]
    problems = [wrong("tracing", problem, remedy) for problem in exporter_problems(os.environ)]
    return problems or [ok("tracing", f"on: spans go to {settings.endpoint} by {settings.protocol}")]


def _public_url(settings: "Settings") -> list[Finding]:
    """Return whether TradingView could post to the address that the configuration names, as far as it tells."""
    url = settings.ingress.public_url
    if url is None:
        return []
    remedy = "correct ingress.public_url: it is how TradingView reaches the ingress"
    warnings = [warning("public_url", detail, remedy) for detail in url_warnings(url)]
    return warnings or [ok("public_url", f"TradingView posts to {url}")]


def secret_findings(settings: "Settings", bridge: Bridge | None) -> list[Finding]:
    """Return whether every secret that the configuration names is there."""
    return [secret_finding(name, user, bridge) for name, user in sorted(settings.secret_names().items())]


def secret_finding(name: str, user: str, bridge: Bridge | None) -> Finding:
    """Return whether one secret is there, and hard to guess."""
    from libs.common.runtime.secrets import has_secret, read_secret

    subject = f"secret {name}"
    if has_secret(name, os.environ):
        try:
            length = len(read_secret(name, os.environ).reveal())
        except ConfigError as error:
            return wrong(subject, str(error), f"{user} needs it")
        if length < webhook_credentials.SHORTEST:
            remedy = f"take {webhook_credentials.SHORTEST} characters or more"
            return warning(subject, f"set, for {user}, but so short that it may be guessed", remedy)
        return ok(subject, f"set, for {user}")
    is_unstarted = bridge is None or bridge.is_guess()
    if bridge is not None and bridge.runs_on_this():
        # It would not have started without.
        return ok(subject, f"not set here, but the running bridge has it, for {user}")
    if name == webhook_secret.VARIABLE:
        kept = webhook_secret.find_kept(var_directories(Path.cwd()))
        if kept is not None:
            try:
                webhook_secret.read_kept(kept)
            except ConfigError as error:
                return wrong(subject, str(error), f"{user} needs it")
            return ok(subject, f"kept in {kept}, for {user}")
        if is_unstarted:
            return ok(subject, f"not set: `make up` will generate it, for {user}")
        return wrong(
            subject, f"not set, and {user} needs it", f"set {name}, or run `make up`, which generates it"
        )
    return wrong(
        subject, f"not set, and {user} needs it", f"set {name}, or {name}_FILE to a file that holds it"
    )


def _loaded(config: Path | None, settings: "Settings | None") -> Finding:
    if settings is None:
        return wrong("configuration", "no file is named", "set BASCULE_CONFIG (config/demo.yaml is one)")
    accounts, webhooks = ", ".join(settings.accounts), ", ".join(settings.webhooks)
    return ok("configuration", f"{config}: accounts {accounts}; webhooks {webhooks}")


def away_finding(bridge: Bridge, error: BridgeError) -> Finding:
    """Return that a bridge's Redis does not answer, or not to us, and what to do about it."""
    if isinstance(error, StoreBarred):
        return wrong("redis", no_answer(bridge, error), error.remedy)
    if bridge.is_guess():
        return skipped("redis", f"{NO_BRIDGE_YET} (nothing answers at {bridge.shown_url})")
    unset = "unset REDIS_URL, and `make up` brings" if bridge.found_by == "REDIS_URL" else "`make up` brings"
    return wrong(
        "redis", no_answer(bridge, error), f"start it, or correct its address; {unset} one of its own"
    )


def _redis(bridge: Bridge, settings: "Settings | None") -> list[Finding]:
    durability = "always" if settings is None else settings.redis.durability.value
    replicas = 0 if settings is None else settings.redis.replicas

    async def look(readings: "Readings") -> "tuple[list[Server], dict[int, StoreUnavailable], int | None]":
        from libs.common.store.servers import group_servers

        spread = await readings.each(lambda one: one.server(durability, replicas=replicas))
        away = spread.away
        spread.need_any()
        noted = None if readings.first.number in away else await readings.noted_shards()
        return group_servers(spread.answers), away, noted

    try:
        servers, away, noted = run(bridge.redis_url, look)
    except (StoreUnavailable, StoreCorrupt) as error:
        return [away_finding(bridge, error)]
    except ConfigError as error:
        return [wrong("redis", str(error), CORRECT_ADDRESS)]
    found = [ok("redis", f"answers at {bridge.shown_url}"), *shards_away(bridge, away)]
    for name, facts in named_servers(servers, away):
        found += [
            *_role(name, facts),
            *_promises(name, facts, durability),
            *replica_findings(name, facts, replicas),
        ]
        if settings is not None:
            found += _memory(name, facts, settings.limits)
    return [*found, *shard_findings(settings, noted)]


def named_servers(
    servers: "Sequence[Server]", away: "Mapping[int, StoreUnavailable]"
) -> "list[tuple[str, ServerFacts]]":
    """Return each server with what is put behind the subject of a finding: nothing where it is the only one."""
    from libs.common.store.fan_out import shards_in_words

    if len(servers) == 1 and not away:
        return [("", servers[0].facts)]
    return [(f" ({shards_in_words(one.shards)})", one.facts) for one in servers]


def shards_away(bridge: Bridge, away: "Mapping[int, StoreUnavailable]") -> list[Finding]:
    """Return which shards do not answer, or not to us, where others do."""
    return [
        wrong(
            f"redis (shard {number})",
            no_answer(bridge, error),
            error.remedy
            if isinstance(error, StoreBarred)
            else "start its server: alerts for its accounts are refused, and their orders wait",
        )
        for number, error in sorted(away.items())
    ]


def shard_findings(settings: "Settings | None", noted: int | None) -> list[Finding]:
    """Return whether Redis is spread over as many shards as the configuration says.

    Args:
        settings: The configuration; None where it cannot be used.
        noted: What Redis says; None where it says nothing.
    """
    if settings is None or noted is None:
        return []
    configured = settings.redis.shards
    if configured != noted:
        detail = f"redis.shards is {configured}, and what Redis holds is spread over {noted}"
        return [wrong("redis shards", detail, f"set redis.shards: {noted}, or begin with an empty Redis")]
    return [ok("redis shards", f"accounts are spread over {noted}")] if noted > 1 else []


def _role(name: str, facts: "ServerFacts") -> list[Finding]:
    """Return what is wrong where a server takes no writes; one that was a primary a moment ago may be such a one, too."""
    if not facts.is_replica:
        return []
    remedy = "name the primary in its address, or Sentinels, which know it: redis+sentinel://"
    return [wrong(f"redis role{name}", "it is a replica, which takes no writes", remedy)]


def _promises(name: str, facts: "ServerFacts", durability: str) -> list[Finding]:
    from libs.common.store.checks import promises

    return [
        ok(f"redis {promise.name}{name}", promise.finding)
        if promise.is_kept
        else wrong(f"redis {promise.name}{name}", promise.finding, promise.remedy)
        for promise in promises(facts, durability)
    ]


def replica_findings(name: str, facts: "ServerFacts", wanted: int) -> list[Finding]:
    """Return whether a server has the replicas that must have what is acknowledged, and refuses writes without them."""
    from libs.common.store.replicas import guard_promise, replicas_promise

    if not wanted:
        if not facts.replicas:
            return []
        detail = f"{facts.replicas} follow Redis, and redis.replicas is 0: a fail-over loses what none of them has yet"
        return [warning(f"redis replicas{name}", detail, "set redis.replicas: 1, if one may take over")]
    there, guard = replicas_promise(facts, wanted), guard_promise(facts, wanted)
    found = [
        ok(f"redis {there.name}{name}", there.finding)
        if there.is_kept
        else wrong(f"redis {there.name}{name}", there.finding, there.remedy)
    ]
    if guard is not None:
        found.append(
            ok(f"redis {guard.name}{name}", guard.finding)
            if guard.is_kept
            else warning(f"redis {guard.name}{name}", guard.finding, guard.remedy)
        )
    return found


def _memory(name: str, facts: "ServerFacts", limits: "LimitsSettings") -> list[Finding]:
    """Return whether a server has room for alerts, as far as it says."""
    share = facts.memory_share
    if share is None:
        return []
    bound = "its maxmemory" if facts.limit_bytes else "its machine's memory"
    finding = f"{share:.1%} of {bound} is used; alerts are refused from {limits.memory:.1%} on"
    if share < limits.memory:
        return [ok(f"redis memory{name}", finding)]
    return [wrong(f"redis memory{name}", finding, "give Redis more memory, or shorten `retention`")]

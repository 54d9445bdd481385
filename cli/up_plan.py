"""What `bascule up` is about to run: configuration, secrets, ports and processes, all checked before anything starts."""

import fcntl
import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from cli import webhook_secret
from cli.addresses import local_url, webhook_url
from cli.ports import PortUse, port_uses
from libs.common.domain.errors import ConfigError
from libs.common.runtime.extras import check_extras
from libs.common.runtime.load_settings import load_settings
from libs.common.runtime.run_record import read_run_record
from libs.common.runtime.secrets import has_secret, read_secret
from libs.common.runtime.settings import Settings
from libs.common.runtime.supervisor import Program
from libs.common.runtime.webhook_settings import DEFAULT_WEBHOOK
from libs.common.telemetry.tracing_settings import tracing_settings

DEMO_CONFIG: Final = Path("config/demo.yaml")
SERVICES: Final[Mapping[str, Sequence[str]]] = MappingProxyType(
    {name: (sys.executable, "-m", f"services.{name}") for name in ("ingress", "worker", "reaper")}
)
"""Kind of service -> its command line."""

_STOP_MARGIN_S: Final = 5.0
_STOP_PATIENCE_S: Final = 15.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that is known before the first process starts."""

    config: Path
    settings: Settings
    var: Path
    environ: Mapping[str, str]
    """Of the children, but for what each gets of its own."""
    workers: int
    is_secret_new: bool = False
    """Whether the webhook's secret was generated just now."""

    @property
    def has_own_redis(self) -> bool:
        """Return whether Redis is ours to run."""
        return not has_secret("REDIS_URL", self.environ)

    @property
    def ingress_url(self) -> str:
        """Return where this machine reaches the ingress."""
        ingress = self.settings.ingress
        return local_url(ingress.host, ingress.port)

    @property
    def public_url(self) -> str | None:
        """Return where TradingView posts alerts to; None where nothing says so."""
        public = self.settings.ingress.public_url
        return None if public is None else webhook_url(public)

    def ports(self) -> list[PortUse]:
        """Return every port that will be listened on."""
        return port_uses(self.settings, self.workers)

    def ops_ports(self) -> dict[str, int]:
        """Return process -> ops port."""
        return {use.process: use.port for use in self.ports() if use.key != "ingress.port"}


def claim_directory(var: Path) -> int:
    """Return a descriptor that holds `var`, made where it is missing, for one `bascule up` at a time.

    Raises:
        ConfigError: Another one runs there, or the directory cannot be used.
    """
    try:
        var.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(var / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unusable(error, var) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        record = read_run_record(var)
        who = f"process {record.pid}" if record is not None else "see `ps`"
        raise ConfigError(
            f"another `bascule up` runs in {var.parent} ({who}); stop it first, with Ctrl-C"
        ) from None
    return descriptor


def unusable(error: OSError, place: Path) -> ConfigError:
    """Return that our data cannot lie at a place, with what to do where something else lies there, or another user's."""
    is_file = isinstance(error, FileExistsError | NotADirectoryError)
    reason = "is no directory" if is_file else error.strerror or str(error)
    is_taken = is_file or isinstance(error, IsADirectoryError | PermissionError)
    remedy = "; run this as the user whom it belongs to, or move it away" if is_taken else ""
    return ConfigError(f"{error.filename or place}: cannot be used: {reason}{remedy}")


def make_plan(directory: Path, environ: Mapping[str, str], workers: int) -> Plan:
    """Return what is to run in a directory.

    A missing WEBHOOK_SECRET is generated and kept in `var/`.

    Raises:
        ConfigError: The configuration or a secret is missing or wrong.
    """
    config = directory / (environ.get("BASCULE_CONFIG") or DEMO_CONFIG)
    inherited = {name: value for name, value in environ.items() if name != "BASCULE_OPS_PORT"}
    settings = load_settings(config, inherited)
    if settings.redis.replicas and not has_secret("REDIS_URL", inherited):
        words = f"redis.replicas: got {settings.redis.replicas}, and a Redis of our own has none"
        raise ConfigError(f"{words}: set it to 0, or REDIS_URL to one that has them")
    check_extras(settings)
    tracing_settings(inherited)
    is_secret_new = False
    names = settings.secret_names()
    if webhook_secret.VARIABLE in names and not has_secret(webhook_secret.VARIABLE, inherited):
        is_secret_new = not webhook_secret.has_kept(directory / "var")
        inherited[webhook_secret.VARIABLE] = webhook_secret.kept_secret(directory / "var")
    for name in sorted(names):
        read_secret(name, inherited)
    inherited["BASCULE_CONFIG"] = str(config)
    return Plan(
        config=config,
        settings=settings,
        var=directory / "var",
        environ=MappingProxyType(inherited),
        workers=workers,
        is_secret_new=is_secret_new,
    )


def service_programs(
    plan: Plan, redis_url: str | None, services: Mapping[str, Sequence[str]] = SERVICES
) -> list[Program]:
    """Return the processes of the bridge but for Redis, in the order they start; the ingress is the first.

    Args:
        plan: What to run.
        redis_url: Of our own Redis; None where the environment names another.
        services: Kind of service -> its command line.
    """
    drain_s = plan.settings.worker.drain_ms / 1_000 + _STOP_MARGIN_S
    shared = {**plan.environ, "PYTHONUNBUFFERED": "1"}
    if redis_url is not None:
        shared["REDIS_URL"] = redis_url
    ports = plan.ops_ports()

    def program(name: str, kind: str, patience_s: float) -> Program:
        return Program(
            name=name,
            command=tuple(services[kind]),
            environment={**shared, "BASCULE_OPS_PORT": str(ports[name])},
            patience_s=patience_s,
            # Redis goes down at the same moment, so there is nothing to drain into.
            death_signal=signal.SIGKILL,
        )

    workers = [program(f"worker-{number}", "worker", drain_s) for number in range(1, plan.workers + 1)]
    return [
        program("ingress", "ingress", _STOP_PATIENCE_S),
        *workers,
        program("reaper", "reaper", _STOP_PATIENCE_S),
    ]


def sample_curl(plan: Plan) -> str:
    """Return a command that posts an alert to the default webhook, ready to paste.

    A secret of the user's own is not printed: the shell that pastes the command fills it in.
    """
    name = plan.settings.webhooks[DEFAULT_WEBHOOK].secret or webhook_secret.VARIABLE
    path = plan.environ.get(f"{name}_FILE")
    if path is not None:
        credential = f"""'"$(cat {shlex.quote(path)})"'"""
    elif is_generated(plan):
        credential = plan.environ[name]
    else:
        credential = f"""'"${name}"'"""
    body = f'{{"secret":"{credential}","id":"try-\'$(date +%s)\'","symbol":"BTCUSDT","action":"buy"}}'
    return f"curl -sS {webhook_url(plan.ingress_url)} -H 'Content-Type: application/json' -d '{body}'"


def is_generated(plan: Plan) -> bool:
    """Return whether the webhook's secret is the one kept in `var/`."""
    path = webhook_secret.kept_path(plan.var)
    value = plan.environ.get(webhook_secret.VARIABLE)
    return value is not None and webhook_secret.has_kept(plan.var) and webhook_secret.read_kept(path) == value

"""What `bascule up` is about to run: configuration, secrets, ports and processes, all checked before anything starts."""

import errno
import fcntl
import os
import secrets
import shlex
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from libs.common.domain.errors import ConfigError
from libs.common.domain.ids import WebhookName
from libs.common.runtime.run_record import read_run_record
from libs.common.runtime.secrets import has_secret, read_secret
from libs.common.runtime.settings import HttpAccount, Settings, load_settings
from libs.common.runtime.supervisor import Program

DEMO_CONFIG: Final = Path("config/demo.yaml")
DEFAULT_WEBHOOK: Final = WebhookName("default")
GENERATED_SECRET: Final = "WEBHOOK_SECRET"  # noqa: S105 - a variable's name
SERVICES: Final[Mapping[str, Sequence[str]]] = MappingProxyType(
    {name: (sys.executable, "-m", f"services.{name}") for name in ("ingress", "worker", "reaper")}
)
"""Kind of service -> its command line."""

_STOP_MARGIN_S: Final = 5.0
_STOP_PATIENCE_S: Final = 15.0
_PORT_PATIENCE_S: Final = 1.5
_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


@dataclass(frozen=True, kw_only=True)
class PortUse:
    """One port that a process is about to listen on."""

    process: str
    host: str
    port: int
    key: str
    """The setting that moves it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that is known before the first process starts."""

    config: Path
    settings: Settings
    var: Path
    environ: Mapping[str, str]
    """Of the children, but for what each gets of its own."""
    workers: int

    @property
    def has_own_redis(self) -> bool:
        """Return whether Redis is ours to run."""
        return not has_secret("REDIS_URL", self.environ)

    @property
    def ingress_url(self) -> str:
        """Return where this machine reaches the ingress."""
        ingress = self.settings.ingress
        host = reachable(ingress.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{ingress.port}"

    def worker_port(self, number: int) -> int:
        """Return the ops port of a worker, counted from 1."""
        return self.settings.worker.ops_port + number

    def ports(self) -> list[PortUse]:
        """Return every port that will be listened on."""
        ingress, worker, reaper = self.settings.ingress, self.settings.worker, self.settings.reaper
        uses = [
            PortUse(process="ingress", host=ingress.host, port=ingress.port, key="ingress.port"),
            PortUse(process="ingress", host=ingress.ops_host, port=ingress.ops_port, key="ingress.ops_port"),
        ]
        for number in range(1, self.workers + 1):
            port, name = self.worker_port(number), f"worker-{number}"
            uses.append(PortUse(process=name, host=worker.ops_host, port=port, key="worker.ops_port"))
        uses.append(
            PortUse(process="reaper", host=reaper.ops_host, port=reaper.ops_port, key="reaper.ops_port")
        )
        return uses

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
        raise ConfigError(f"{var}: cannot be used: {error.strerror}") from error
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


def make_plan(directory: Path, environ: Mapping[str, str], workers: int) -> Plan:
    """Return what is to run in a directory.

    A missing WEBHOOK_SECRET is generated and kept in `var/`.

    Raises:
        ConfigError: The configuration or a secret is missing or wrong.
    """
    config = directory / (environ.get("BASCULE_CONFIG") or DEMO_CONFIG)
    inherited = {name: value for name, value in environ.items() if name != "BASCULE_OPS_PORT"}
    settings = load_settings(config, inherited)
    names = {webhook.secret for webhook in settings.webhooks.values()}
    if GENERATED_SECRET in names and not has_secret(GENERATED_SECRET, inherited):
        inherited[GENERATED_SECRET] = kept_secret(directory / "var" / "webhook-secret")
    names |= {account.secret for account in settings.accounts.values() if isinstance(account, HttpAccount)}
    for name in sorted(names):
        read_secret(name, inherited)
    inherited["BASCULE_CONFIG"] = str(config)
    return Plan(
        config=config,
        settings=settings,
        var=directory / "var",
        environ=MappingProxyType(inherited),
        workers=workers,
    )


def kept_secret(path: Path) -> str:
    """Return the secret that a file keeps for its owner alone; generated at the first call."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{secrets.token_urlsafe(24)}\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        pass
    kept = path.read_text(encoding="utf-8").strip()
    if not kept:
        raise ConfigError(f"{path} is empty; remove it, and a new secret is generated")
    return kept


def check_ports(uses: Sequence[PortUse], config: Path) -> None:
    """Make sure that nothing listens on the ports yet.

    Raises:
        ConfigError: A port is taken, wanted twice or not ours to use; the text names it and its setting.
    """
    taken: dict[int, PortUse] = {}
    deadline_s = time.monotonic() + _PORT_PATIENCE_S
    for use in uses:
        if (other := taken.setdefault(use.port, use)) is not use:
            where = f"{other.process} ({other.key}) and {use.process} ({use.key})"
            raise ConfigError(f"port {use.port} is wanted by {where}; change one in {config}")
    for use in uses:
        while (number := _try_port(use)) is not None:
            # Processes of a launcher that was just killed may take a moment to be gone.
            if number == errno.EADDRINUSE and time.monotonic() < deadline_s:
                time.sleep(0.05)
                continue
            remark = "is in use" if number == errno.EADDRINUSE else f"cannot be used: {os.strerror(number)}"
            raise ConfigError(
                f"port {use.port} on {use.host} {remark}: stop what listens there, or change {use.key} in {config}"
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


def sample_curl(plan: Plan) -> str | None:
    """Return a command that posts an alert to the default webhook, ready to paste; None where there is none.

    A secret of the user's own is not printed: the shell that pastes the command fills it in.
    """
    webhook = plan.settings.webhooks.get(DEFAULT_WEBHOOK)
    if webhook is None:
        return None
    name = webhook.secret
    path = plan.environ.get(f"{name}_FILE")
    if path is not None:
        credential = f"""'"$(cat {shlex.quote(path)})"'"""
    elif is_generated(plan):
        credential = plan.environ[name]
    else:
        credential = f"""'"${name}"'"""
    body = f'{{"secret":"{credential}","id":"try-\'$(date +%s)\'","symbol":"BTCUSDT","action":"buy"}}'
    return f"curl -sS {plan.ingress_url}/webhook -H 'Content-Type: application/json' -d '{body}'"


def is_generated(plan: Plan) -> bool:
    """Return whether the webhook's secret is the one kept in `var/`."""
    path = plan.var / "webhook-secret"
    value = plan.environ.get(GENERATED_SECRET)
    return value is not None and path.exists() and path.read_text(encoding="utf-8").strip() == value


def reachable(host: str) -> str:
    """Return the address to reach a listener by."""
    return _ANY_ADDRESS.get(host, host)


def _try_port(use: PortUse) -> int | None:
    """Return the error number of listening there; None where it works."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            use.host or None, use.port, type=socket.SOCK_STREAM
        )[0]
    except OSError as error:
        raise ConfigError(f"{use.host} is no address to listen on ({use.key}): {error.strerror}") from error
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            return error.errno
    return None

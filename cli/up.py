"""`bascule up`: the whole bridge in the foreground, with a Redis of its own, until Ctrl-C."""

import asyncio
import http.client
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Final

import click

from cli import up_plan, webhook_secret
from cli.addresses import reachable
from cli.exit_codes import ExitCode
from cli.own_command import own_command, short
from cli.ports import WORKERS, check_ports
from cli.up_plan import Plan
from libs.common.runtime import redis_data, redis_server
from libs.common.runtime.redis_binary import INSTALL_HINT, ServerBinary, find_server
from libs.common.runtime.run_record import RunRecord, remove_run_record, write_run_record
from libs.common.runtime.secrets import mask_url
from libs.common.runtime.supervisor import Child, Program

_ASK_S: Final = 0.1
_REMIND_S: Final = 10.0


@click.command("up")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=WORKERS, show_default=True, help="Worker processes."
)
def command(workers: int) -> int:
    """Run the whole bridge here, in the foreground.

    That is Redis, ingress, workers and reaper. The configuration is config/demo.yaml, or the file that BASCULE_CONFIG names. Data and secrets are kept in var/.
    With REDIS_URL set that Redis is used instead of an own one.
    """
    return bring_up(Path.cwd(), os.environ, workers=workers)


def bring_up(
    directory: Path,
    environ: Mapping[str, str],
    *,
    workers: int,
    services: Mapping[str, Sequence[str]] = up_plan.SERVICES,
) -> int:
    """Run everything until a signal, and return the exit code.

    Args:
        directory: Where `var/` and the configuration lie.
        environ: The environment.
        workers: How many of them.
        services: Kind of service -> its command line.

    Raises:
        ConfigError: Something is missing, wrong or in use; nothing was left running.
    """
    var = directory.resolve() / "var"
    lock = up_plan.claim_directory(var)
    try:
        plan = up_plan.make_plan(directory.resolve(), environ, workers)
        check_ports(plan.ports(), plan.config)
        return asyncio.run(_Launch(plan, services).run())
    finally:
        os.close(lock)


def say(text: str) -> None:
    """Write a line for whoever watches; a terminal that went away stops nothing."""
    with suppress(OSError, ValueError):
        click.echo(text)


class _Launch:
    """One run, from the first process to the last."""

    def __init__(self, plan: Plan, services: Mapping[str, Sequence[str]]) -> None:
        self._plan = plan
        self._services = services
        self._stopping = asyncio.Event()
        self._failure: str | None = None
        self._redis: Child | None = None
        self._children: list[Child] = []

    async def run(self) -> int:
        """Start all, wait for a signal, stop all; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._ask_to_stop)
        start = asyncio.create_task(self._start_all())
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
            if start.done():
                start.result()
                await stop
        finally:
            for task in (start, stop):
                task.cancel()
            await asyncio.gather(start, stop, return_exceptions=True)
            await self._stop_all()
            remove_run_record(self._plan.var)
        if self._failure is None:
            say("stopped; nothing is lost")
            return ExitCode.OK
        say(f"bascule: {self._failure}")
        return ExitCode.FAILED

    def _ask_to_stop(self) -> None:
        if not self._stopping.is_set():
            say("stopping: ingress first, then workers and reaper, then Redis")
        self._stopping.set()

    def _give_up(self, reason: str) -> None:
        self._failure = self._failure or reason
        self._stopping.set()

    async def _start_all(self) -> None:
        plan = self._plan
        binary: ServerBinary | None = None
        redis_url: str | None = None
        if not plan.has_own_redis:
            from cli.up_redis import check_redis

            await check_redis(plan.settings.redis, say)
        else:
            binary = await asyncio.to_thread(find_server, plan.environ.get("PATH", os.defpath), say)
            from cli.up_redis import check_own_shards

            redis_url = await self._start_redis(binary)
            await check_own_shards(redis_url, plan.settings.redis.shards, str(short(plan.var / "redis")))
        for program in up_plan.service_programs(plan, redis_url, self._services):
            self._children.append(self._start(program))
        record = RunRecord(
            redis_url=mask_url(redis_url or plan.settings.redis.url),
            ingress_url=plan.ingress_url,
            config=str(plan.config),
            pid=os.getpid(),
            ops=plan.ops_ports(),
        )
        write_run_record(plan.var, record)
        await self._wait_until_up()
        for child in (*self._children, *([self._redis] if self._redis else [])):
            child.settle()
        for line in _greeting(plan, binary):
            say(line)

    async def _start_redis(self, binary: ServerBinary) -> str:
        plan = self._plan
        data = plan.var / "redis"
        socket = redis_server.socket_path(plan.var, plan.environ)
        try:
            data.mkdir(mode=0o700, exist_ok=True)
            lock = await asyncio.to_thread(redis_data.lock_data, data)
            redis_data.claim_data(data, binary)
        except OSError as error:
            raise up_plan.unusable(error, data) from error
        self._redis = self._start(redis_server.server_program(binary, data, socket, lock, plan.environ))
        await self._poll(
            lambda: redis_server.is_ready(socket), lambda: f"Redis loads its data (its log: {data}/redis.log)"
        )
        return f"unix://{socket}"

    def _start(self, program: Program) -> Child:
        child = Child(program, say, self._give_up)
        child.start()
        return child

    async def _wait_until_up(self) -> None:
        """Wait until the ingress takes alerts and all others are past their start."""
        ingress = self._plan.settings.ingress
        reasons: list[str] = []

        async def is_up() -> bool:
            reasons[:] = [
                f"{use.process} is not ready"
                for use in self._plan.ports()
                if not await _is_listening(reachable(use.host), use.port)
            ]
            if not reasons:
                reason = await asyncio.to_thread(_unhealthy, reachable(ingress.host), ingress.port)
                reasons.extend([f"ingress is not ready: {reason}"] if reason else [])
            return not reasons

        await self._poll(is_up, lambda: "; ".join(dict.fromkeys(reasons)))

    async def _poll(self, condition: Callable[[], Awaitable[bool]], reminder: Callable[[], str]) -> None:
        """Wait until the condition holds, with a word now and then about what is awaited."""
        remind_at_s = time.monotonic() + _REMIND_S
        while not await condition():
            if time.monotonic() >= remind_at_s:
                say(reminder())
                remind_at_s += _REMIND_S
            await asyncio.sleep(_ASK_S)

    async def _stop_all(self) -> None:
        """Stop the ingress, then what works, then Redis: whoever goes first needs those who go last."""
        for child in self._children[:1]:
            await child.stop()
        await asyncio.gather(*(child.stop() for child in self._children[1:]))
        if self._redis is not None:
            await self._redis.stop()


async def _is_listening(host: str, port: int) -> bool:
    try:
        # Not `wait_for`: on Python 3.11 it can swallow a cancellation, and the start would never be given up.
        async with asyncio.timeout(1):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _unhealthy(host: str, port: int) -> str:
    """Return why the ingress does not answer 200; empty where it does."""
    connection = http.client.HTTPConnection(host, port, timeout=3)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        body = answer.read(1_000)
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    return (
        "" if answer.status == HTTPStatus.OK else f"{answer.status} {body.decode(errors='replace').strip()}"
    )


def _greeting(plan: Plan, binary: ServerBinary | None) -> Iterator[str]:
    """Return what runs where, and what to do next."""
    yield ""
    yield f"Bascule {version('bascule')} runs; its configuration is {short(plan.config)}."
    if binary is None:
        yield f"  redis      {mask_url(plan.settings.redis.url)}, not ours to stop"
    else:
        yield f"  redis      {binary}, data in {short(plan.var / 'redis')}"
    yield f"  ingress    {plan.ingress_url}"
    for name, port in plan.ops_ports().items():
        yield f"  {name:<10} probes and metrics on port {port}"
    if binary is not None and binary.is_for_trying:
        yield f"This Redis is for trying. For anything real, {INSTALL_HINT}."
    if up_plan.is_generated(plan):
        name = webhook_secret.VARIABLE
        how = "was not set: generated and" if plan.is_secret_new else "is not set:"
        yield f"{name} {how} kept in {short(webhook_secret.kept_path(plan.var))}:"
        yield f"  {plan.environ[name]}"
    yield "Post an alert:"
    yield f"  {up_plan.sample_curl(plan)}"
    if plan.public_url is not None:
        yield "TradingView posts alerts to:"
        yield f"  {plan.public_url}"
    yield "See what became of it:"
    yield f"  {own_command()} alerts"
    yield f"  {own_command()} positions"
    yield "Ctrl-C stops everything; started again, nothing is lost."

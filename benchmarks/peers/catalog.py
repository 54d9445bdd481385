"""Who is measured, and how each is run."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.load import client_name
from tests.support.tree import ROOT

PYTHON = ROOT / ".venv" / "peers" / "bin" / "python"
PYTHON_OF_ARQ = ROOT / ".venv" / "peers-arq" / "bin" / "python"
NODE_PACKAGES = ROOT / ".venv" / "peers-node" / "node_modules"
HERE = ROOT / "benchmarks" / "peers"
MODULES = "benchmarks.peers"

OF_NODE = {"NODE_ENV": "production", "NODE_PATH": str(NODE_PACKAGES)}


@dataclass(frozen=True)
class Receiver:
    """A server that takes alerts."""

    name: str
    what: str
    """How the table calls it."""
    command: tuple[str, ...]
    """`{port}` stands for the port."""
    kept: Callable[[Any], int] | None = None
    """Counts the alerts in Redis; None where it keeps none, and is given no Redis."""
    hangs_up: bool = False
    """After each answer: only wrk connects anew."""
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Jobs:
    """A queue of jobs."""

    name: str
    what: str
    fill: tuple[str, ...]
    work: tuple[str, ...]
    """`{concurrency}` stands for the number."""
    concurrency: int
    """Jobs at once: what it was fastest with, of 8 to 1,000 and its default."""
    left: Callable[[Any], int]
    """Counts the jobs in Redis that a worker took and has not ended."""
    environment: dict[str, str] = field(default_factory=dict)


def _fastapi(name: str, what: str, kept: Callable[[Any], int] | None) -> Receiver:
    module = f"{MODULES}.receivers.fastapi_receiver:app"
    settings = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")
    return Receiver(name, what, (str(PYTHON), "-m", "uvicorn", module, "--port", "{port}", *settings), kept)


def _flask(name: str, what: str, kept: Callable[[Any], int] | None) -> Receiver:
    module = f"{MODULES}.receivers.flask_receiver:app"
    settings = ("--workers", "1", "--worker-class", "sync", "--log-level", "warning")
    command = (str(PYTHON), "-m", "gunicorn", "--bind", "127.0.0.1:{port}", *settings, module)
    return Receiver(name, what, command, kept, hangs_up=True)


def _python(python: str, module: str, *words: str) -> tuple[str, ...]:
    return (python, "-m", f"{MODULES}.jobs.{module}", *words)


RECEIVERS = (
    Receiver(
        "express",
        "Express, SET NX + LPUSH",
        ("node", str(HERE / "receivers" / "express_receiver.js")),
        lambda redis: int(redis.llen("alerts")),
        environment=OF_NODE,
    ),
    _fastapi("fastapi", "FastAPI, pydantic, nothing kept", None),
    _fastapi("fastapi-xadd", "FastAPI, pydantic, XADD", lambda redis: int(redis.xlen("alerts"))),
    _flask("flask", "Flask, gunicorn, nothing kept", None),
    _flask("flask-lpush", "Flask, gunicorn, LPUSH", lambda redis: int(redis.llen("alerts"))),
)

QUEUES = (
    Jobs(
        "bullmq",
        "BullMQ",
        ("node", str(HERE / "jobs" / "bullmq_jobs.js"), "fill"),
        ("node", str(HERE / "jobs" / "bullmq_jobs.js"), "work"),
        256,
        lambda redis: int(redis.llen("bull:jobs:wait") + redis.llen("bull:jobs:active")),
        OF_NODE,
    ),
    Jobs(
        "taskiq",
        "taskiq-redis, streams",
        _python(str(PYTHON), "taskiq_jobs"),
        (
            *(str(PYTHON), "-m", "taskiq", "worker", f"{MODULES}.jobs.taskiq_jobs:broker", "--workers", "1"),
            *("--max-async-tasks", "{concurrency}", "--log-level", "WARNING"),
        ),
        100,
        lambda redis: int(redis.xpending("jobs", "taskiq")["pending"]),
    ),
    Jobs(
        "arq",
        "arq",
        _python(str(PYTHON_OF_ARQ), "arq_jobs", "fill"),
        _python(str(PYTHON_OF_ARQ), "arq_jobs", "work"),
        64,
        lambda redis: int(redis.zcard("arq:queue")),
    ),
    Jobs(
        "dramatiq",
        "dramatiq",
        _python(str(PYTHON), "dramatiq_jobs"),
        (
            *(str(PYTHON), "-m", "dramatiq", f"{MODULES}.jobs.dramatiq_jobs", "--processes", "1"),
            *("--threads", "{concurrency}"),
        ),
        64,
        lambda redis: int(redis.hlen("dramatiq:default.msgs")),
        # Its default is twice the threads, and a full store lets it sleep before it asks again.
        {"dramatiq_queue_prefetch": "1000"},
    ),
)


def missing(peer: Receiver | Jobs) -> str | None:
    """Return what a peer needs and this machine does not have; None where it can be run."""
    program = (peer.command if isinstance(peer, Receiver) else peer.work)[0]
    if shutil.which(program) is None:
        return "node is not installed" if program == "node" else "not installed, see `make bench-peers`"
    if program == "node" and not NODE_PACKAGES.exists():
        return "node's packages are not installed, see `make bench-peers`"
    if isinstance(peer, Receiver) and peer.hangs_up and client_name() != "wrk":
        return "it hangs up after each answer, which takes wrk as the client"
    return None

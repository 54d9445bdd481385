"""The ports that the bridge listens on, and whether they can be had."""

import errno
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from libs.common.domain.errors import ConfigError

if TYPE_CHECKING:
    from libs.common.runtime.settings import Settings

WORKERS: Final = 2
"""How many `make up` starts unless told otherwise."""

_PATIENCE_S: Final = 1.5


@dataclass(frozen=True, kw_only=True)
class PortUse:
    """One port that a process listens on."""

    process: str
    host: str
    port: int
    key: str
    """The setting that moves it."""


def port_uses(settings: "Settings", workers: int = WORKERS) -> list[PortUse]:
    """Return every port of a bridge with so many workers; worker n has the ops port of the settings plus n."""
    ingress, worker, reaper = settings.ingress, settings.worker, settings.reaper
    return [
        PortUse(process="ingress", host=ingress.host, port=ingress.port, key="ingress.port"),
        PortUse(process="ingress", host=ingress.ops_host, port=ingress.ops_port, key="ingress.ops_port"),
        *(
            PortUse(
                process=f"worker-{number}",
                host=worker.ops_host,
                port=worker.ops_port + number,
                key="worker.ops_port",
            )
            for number in range(1, workers + 1)
        ),
        PortUse(process="reaper", host=reaper.ops_host, port=reaper.ops_port, key="reaper.ops_port"),
    ]


def check_ports(uses: Sequence[PortUse], config: Path) -> None:
    """Make sure that nothing listens on the ports yet.

    Raises:
        ConfigError: A port is taken, wanted twice or not ours to use; the text names it and its setting.
    """
    taken: dict[int, PortUse] = {}
    deadline_s = time.monotonic() + _PATIENCE_S
    for use in uses:
        if (other := taken.setdefault(use.port, use)) is not use:
            where = f"{other.process} ({other.key}) and {use.process} ({use.key})"
            raise ConfigError(f"port {use.port} is wanted by {where}; change one in {config}")
    for use in uses:
        while (error := try_port(use)) is not None:
            # Processes of a launcher that was just killed may take a moment to be gone.
            if error.errno == errno.EADDRINUSE and time.monotonic() < deadline_s:
                time.sleep(0.05)
                continue
            raise ConfigError(
                f"port {use.port} on {use.host} {in_words(error)}: {remedy(use, error)} in {config}"
            )


def try_port(use: PortUse) -> OSError | None:
    """Return why nobody could listen there; None where one could."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            use.host or None, use.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        return error
    return None


def in_words(error: OSError) -> str:
    """Return what `try_port` found, as said of the port."""
    if error.errno == errno.EADDRINUSE:
        return "is in use"
    return f"cannot be used: {error.strerror or error}"


def remedy(use: PortUse, error: OSError) -> str:
    """Return what to do about what `try_port` found."""
    if error.errno == errno.EADDRINUSE:
        return f"stop what listens there, or change {use.key}"
    is_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
    return f"change {use.key.replace('port', 'host') if is_host else use.key}"

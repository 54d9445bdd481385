import socket
from pathlib import Path

import pytest

from cli.ports import PortUse, check_ports, in_words, port_uses, remedy, try_port
from libs.common.domain.errors import ConfigError
from libs.common.runtime.settings import Settings

CONFIG = Path("my.yaml")


def ingress(port: int, host: str = "127.0.0.1") -> PortUse:
    return PortUse(process="ingress", host=host, port=port, key="ingress.port")


def test_each_process_has_its_own_ports() -> None:
    uses = port_uses(Settings(), 2)
    assert [(use.process, use.port) for use in uses] == [
        ("ingress", 8_080),
        ("ingress", 9_101),
        ("worker-1", 9_111),
        ("worker-2", 9_112),
        ("reaper", 9_103),
    ]


def test_ports_wanted_twice_are_named() -> None:
    twice = PortUse(process="worker-1", host="127.0.0.1", port=18_080, key="worker.ops_port")
    with pytest.raises(
        ConfigError,
        match=r"port 18080 is wanted by ingress \(ingress.port\) and worker-1 \(worker.ops_port\)",
    ):
        check_ports([ingress(18_080), twice], CONFIG)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_that_is_not_ours_is_named(host: str) -> None:
    with pytest.raises(ConfigError, match=f"port 18080 on {host} cannot be used: .*: change ingress.host in"):
        check_ports([ingress(18_080, host)], CONFIG)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", ""])
def test_a_port_in_use_is_named(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        use = ingress(listener.getsockname()[1], host)
        error = try_port(use)
        assert error is not None
        assert in_words(error) == "is in use"
        assert remedy(use, error) == "stop what listens there, or change ingress.port"
    assert try_port(use) is None

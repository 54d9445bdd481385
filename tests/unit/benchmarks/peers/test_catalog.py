import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers import __main__ as program
from benchmarks.peers import catalog
from benchmarks.peers.catalog import HERE, QUEUES, RECEIVERS, Jobs, Receiver, missing

PEERS: list[Receiver | Jobs] = [*RECEIVERS, *QUEUES]


def nothing(_name: str) -> None:
    return None


def named(name: str) -> Any:
    return next(peer for peer in PEERS if peer.name == name)


def test_every_peer_has_a_name_of_its_own() -> None:
    assert len({peer.name for peer in PEERS}) == len(PEERS)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_that_is_not_installed_says_so(peer: Receiver | Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", nothing)
    reason = missing(peer)
    assert reason is not None
    assert "not installed" in reason


def test_node_without_its_packages_is_not_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(catalog, "NODE_PACKAGES", tmp_path / "none")
    assert "packages" in str(missing(named("express")))


def test_a_server_that_hangs_up_needs_a_client_that_connects_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    flask = replace(named("flask"), command=(sys.executable,))
    monkeypatch.setattr(catalog, "client_name", lambda: "wrk")
    assert missing(flask) is None
    monkeypatch.setattr(catalog, "client_name", lambda: "another")
    assert "wrk" in str(missing(flask))


def test_what_cannot_be_run_is_skipped_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", nothing)
    monkeypatch.setattr(sys, "argv", ["peers", "express", "bullmq"])
    program.main()
    assert capsys.readouterr().out.splitlines() == [
        "express is skipped: node is not installed",
        "bullmq is skipped: node is not installed",
    ]


def test_a_name_that_nobody_has_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["peers", "expres"])
    with pytest.raises(SystemExit):
        program.main()
    assert "unknown: expres; there are express, fastapi" in capsys.readouterr().err


def test_the_lock_of_nodes_packages_pins_all_by_hash_and_names_no_registry() -> None:
    lock = json.loads((HERE / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert [name for name, package in packages.items() if not package.get("integrity")] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []

"""`bascule check --connect`: whether the venue of every account would trade, asked without trading."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cli.context import Bridge
from cli.findings import Finding, ok, warning, wrong

LONGEST_S: Final = 90.0

_START: Final = "start it, or correct the account's url; docs/http-broker.md says what it must answer"
_CORRECT: Final = "correct what it says; docs/exchanges.md has the steps for exchanges"

SKEW_MS: Final = 1_000
"""From here on exchanges refuse requests for their time stamp, or take them for longer than they should."""

COMMAND: Final = (sys.executable, "-m", "services.worker.check")


def connect_findings(bridge: Bridge | None, config: Path) -> list[Finding]:
    """Return what the venues said; they are asked by a program of the worker, which has the brokers."""
    environ = {**os.environ, "BASCULE_CONFIG": str(config)}
    if bridge is not None:
        environ["REDIS_URL"] = bridge.redis_url
        environ.pop("REDIS_URL_FILE", None)
    try:
        done = subprocess.run(
            COMMAND, env=environ, capture_output=True, text=True, timeout=LONGEST_S, check=False
        )
    except subprocess.TimeoutExpired:
        return [wrong("connect", f"no answer within {LONGEST_S:.0f} s", "check the network, then try again")]
    try:
        found = json.loads(done.stdout)
    except ValueError:
        words = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return [wrong("connect", f"the check did not end well: {words}", "correct what it says")]
    return [finding for account in found for finding in _account(account)]


def _account(found: Mapping[str, Any]) -> list[Finding]:
    subject = f"account {found['account']}"
    if found["error"] is not None:
        remedy = _START if found["broker"] == "http" else _CORRECT
        return [wrong(subject, f"{_where(found)}: {found['error']}", remedy)]
    findings = [ok(subject, f"{_where(found)}: {_facts(found)}")]
    if found["place"] == "live":
        remedy = "remove `live: true` if that is not meant"
        findings.append(warning(subject, f"{_where(found)}: orders trade REAL MONEY", remedy))
    skew_ms = found["skew_ms"]
    if skew_ms is not None and abs(skew_ms) >= SKEW_MS:
        way = "ahead of" if skew_ms > 0 else "behind"
        detail = f"this machine's clock is {abs(skew_ms)} ms {way} the exchange's"
        findings.append(warning(subject, detail, "let a time service such as chrony set it"))
    return findings


def _where(found: Mapping[str, Any]) -> str:
    if found["exchange"] is None:
        return str(found["broker"])
    places = {
        "url": "at its `url`",
        "live": "live",
        "testnet": "sandbox (testnet)",
        "demo": "sandbox (demo trading)",
    }
    return f"{found['exchange']} {found['market_type']}, {places[found['place']]}"


def _facts(found: Mapping[str, Any]) -> str:
    if found["broker"] == "log":
        return "a dry run, nothing to connect to"
    facts = ["answers" if found["exchange"] is None else "answers, and takes the key"]
    if found["equity"] is not None:
        facts.append(f"balance {found['equity']} {found['currency']}".rstrip())
    if found["markets"] is not None:
        facts.append(f"{found['markets']} markets")
    if found["skew_ms"] is not None:
        facts.append(f"clocks differ by {abs(found['skew_ms'])} ms")
    return ", ".join(facts)

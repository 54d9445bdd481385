"""Holds what the locks pin against the known vulnerabilities: `python -m tools.audit`, a part of `make check`.

Every pin of every lock is looked up, whatever platform it is for. pip-audit does it, in an environment of its own. Nothing is
installed. The source of advisories is asked first about a version known to be vulnerable: who does not name that one says
nothing of the others either, and the audit is skipped with a note. The same version goes along with the pins, so
that a pip-audit that finds nothing is not believed where it misses it.

Exit status: 0 nothing found, or skipped; 1 a vulnerability; 2 the audit itself is broken.
"""

import argparse
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx

ROOT: Final = Path(__file__).parents[1]
LOCKS: Final = ROOT / "requirements"
ACCEPTED: Final = LOCKS / "accepted.toml"
PIP_AUDIT: Final = ROOT / ".venv" / "audit" / "bin" / "pip-audit"
SOURCE: Final = "https://api.osv.dev/v1/query"

OUT_OF_REACH_S: Final = 4.0
"""A source that does not answer for so long is out of reach."""
ATTEMPTS: Final = 2
"""One look-up among many may be lost on a source that is there."""
RUN_S: Final = 120.0
"""For all look-ups together; they come one after the other."""

_PIN: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)\s*(?:;.*)?")
_HASH: Final = re.compile(r"--hash=sha256:[0-9a-f]{64}")
_SEPARATORS: Final = re.compile(r"[-_.]+")


class Pin(NamedTuple):
    """A version of a package."""

    name: str
    """In lower case, its words joined by `-`."""
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


CANARY: Final = Pin("jinja2", "2.4.1")
"""Known to be vulnerable since 2014: a source that does not say so is none."""


class AuditBroken(Exception):
    """The audit cannot be made, and not because the source is out of reach."""


class OutOfReach(Exception):
    """Nobody is there who knows advisories."""


@dataclass(frozen=True)
class Accepted:
    """An advisory that we live with for a while."""

    id: str
    """As the source calls it, or one of its other names."""
    package: str
    reason: str
    until: date
    """The last day."""


@dataclass(frozen=True)
class Advisory:
    """A known vulnerability of a pin."""

    pin: Pin
    id: str
    aliases: frozenset[str]
    fixed_in: tuple[str, ...]


@dataclass
class Findings:
    """What came out, a line each."""

    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_locks(directory: Path) -> dict[Pin, str]:
    """Return every pin of the locks of a directory, with one of its hashes.

    Raises:
        AuditBroken: There is no lock, or a line that is no pin with its hashes.
    """
    pins: dict[Pin, str] = {}
    locks = sorted(directory.glob("*.txt"))
    if not locks:
        raise AuditBroken(f"{directory} holds no locks")
    for lock in locks:
        text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in text.splitlines():
            bare = line.partition(" #")[0].strip()
            if not bare or bare.startswith("#"):
                continue
            requirement, *_ = bare.partition(" --hash=")
            found, known = _PIN.fullmatch(requirement.strip()), _HASH.search(bare)
            if found is None or known is None:
                raise AuditBroken(f"{lock.name}: {requirement.strip()!r} is not a version with its hashes")
            pins[Pin(_normal(found[1]), found[2])] = known[0]
    return pins


def read_accepted(path: Path) -> tuple[Accepted, ...]:
    """Return the advisories that are accepted; none where the file is missing.

    Raises:
        AuditBroken: The file cannot be read, or an entry is not whole.
    """
    if not path.exists():
        return ()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AuditBroken(f"{path.name}: {error}") from error
    entries = document.pop("accepted", [])
    if document or not isinstance(entries, list):
        raise AuditBroken(f"{path.name}: only [[accepted]] entries are known")
    return tuple(_accepted(path.name, entry) for entry in entries)


def ask_source(source: str, *, timeout_s: float = OUT_OF_REACH_S) -> None:
    """Make sure that the source of advisories is there and knows what it is asked.

    Raises:
        OutOfReach: It is not there, is too slow, refuses, or does not name what is known of the canary.
    """
    outcome: list[OutOfReach | None] = []
    # A thread that is left behind: looking up a name cannot be cut short, and a trickle never times out.
    asking = threading.Thread(target=lambda: outcome.append(_ask(source, timeout_s)), daemon=True)
    asking.start()
    asking.join(timeout_s)
    if not outcome:
        raise OutOfReach(f"no answer within {timeout_s:g} s")
    if outcome[0] is not None:
        raise outcome[0]


def look_up(pins: Mapping[Pin, str], source: str, tool: Path, *, run_s: float = RUN_S) -> list[Advisory]:
    """Return what is known against the pins, according to pip-audit.

    Args:
        pins: Each with a hash.
        source: Where advisories are asked for.
        tool: The program.
        run_s: For all of it.

    Raises:
        AuditBroken: pip-audit fails though the source is there, leaves out a pin, or misses what is known of the canary.
        OutOfReach: The source went away meanwhile, or is too slow.
    """
    hashed = {**pins, CANARY: f"--hash=sha256:{'0' * 64}"}
    found: list[Advisory] = []
    audited: set[Pin] = set()
    for batch in _without_repeats(hashed):
        document = _run(tool, source, {pin: hashed[pin] for pin in batch}, run_s)
        for pin, advisories in _read(document).items():
            audited.add(pin)
            found += advisories
    if left_out := set(hashed) - audited:
        raise AuditBroken(f"pip-audit left out {', '.join(sorted(map(str, left_out)))}")
    if not any(one.pin == CANARY for one in found):
        raise AuditBroken(f"pip-audit misses what is known of {CANARY}")
    return found if CANARY in pins else [one for one in found if one.pin != CANARY]


def judge(advisories: Iterable[Advisory], accepted: Sequence[Accepted], today: date) -> Findings:
    """Return what fails the check, and what is only to be said."""
    findings = Findings()
    used: set[Accepted] = set()
    for one in sorted(advisories, key=lambda each: (each.pin, each.id)):
        names = one.aliases | {one.id}
        known = f"{one.pin}: {one.id}"
        if others := sorted(one.aliases - {one.id}):
            known += f" ({', '.join(others)})"
        fix = f"fixed in {', '.join(one.fixed_in)}" if one.fixed_in else "no fix is known"
        entries = [each for each in accepted if each.id in names and each.package == one.pin.name]
        used.update(entries)
        if valid := [each for each in entries if today <= each.until]:
            findings.notes.append(f"{known}, accepted until {valid[0].until}: {valid[0].reason}")
        elif entries:
            findings.failures.append(f"{known}, {fix}; it was accepted until {entries[0].until}")
        else:
            findings.failures.append(f"{known}, {fix}")
    for entry in accepted:
        if entry not in used:
            findings.notes.append(f"{entry.package}: {entry.id} is accepted but no longer found; take it out")
    return findings


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit the locks and say what was found; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.audit", description="Audit what the locks pin.")
    parser.add_argument("--source", default=SOURCE, help="where to ask for advisories (%(default)s)")
    parser.add_argument("--locks", type=Path, default=LOCKS, help="the directory of the locks")
    parser.add_argument("--accepted", type=Path, default=ACCEPTED, help="the advisories that are accepted")
    parser.add_argument("--tool", type=Path, default=PIP_AUDIT, help="the program pip-audit")
    options = parser.parse_args(arguments)
    try:
        pins, accepted = read_locks(options.locks), read_accepted(options.accepted)
        ask_source(options.source)
        advisories = look_up(pins, options.source, options.tool)
    except OutOfReach as reason:
        _say(f"skipped: no advisories from {options.source}: {reason}")
        return 0
    except AuditBroken as reason:
        _say(f"broken: {reason}")
        return 2
    findings = judge(advisories, accepted, datetime.now(UTC).date())
    for note in findings.notes:
        _say(note)
    for failure in findings.failures:
        _say(f"VULNERABLE {failure}")
    if findings.failures:
        _say(
            f"raise the versions (`make lock`), or accept an advisory with a reason in {options.accepted.name}"
        )
        return 1
    _say(f"{len(pins)} pinned versions, no vulnerability known but what is accepted")
    return 0


def _accepted(file_name: str, entry: Any) -> Accepted:
    expected = {"id": str, "package": str, "reason": str, "until": date}
    is_whole = isinstance(entry, dict) and entry.keys() == expected.keys()
    # A time of day is a date too.
    if not is_whole or not all(type(entry[key]) is kind for key, kind in expected.items()):
        raise AuditBroken(
            f"{file_name}: an [[accepted]] entry needs id, package, reason (texts) and until (a date): {entry}"
        )
    if not all(entry[key].strip() for key in ("id", "package", "reason")):
        raise AuditBroken(f"{file_name}: id, package and reason must not be empty: {entry}")
    return Accepted(entry["id"], _normal(entry["package"]), entry["reason"], entry["until"])


def _without_repeats(pins: Iterable[Pin]) -> list[list[Pin]]:
    """Return the pins in groups that name no package twice, which pip-audit refuses."""
    groups: list[dict[str, Pin]] = []
    for pin in sorted(pins):
        group = next((each for each in groups if pin.name not in each), None)
        if group is None:
            groups.append(group := {})
        group[pin.name] = pin
    return [list(group.values()) for group in groups]


def _run(tool: Path, source: str, pins: Mapping[Pin, str], run_s: float) -> Any:
    with tempfile.TemporaryDirectory(prefix="bascule-audit-") as name:
        lock, answer = Path(name, "pins.txt"), Path(name, "answer.json")
        lines = (f"{pin.name}=={pin.version} {hashed}\n" for pin, hashed in pins.items())
        lock.write_text("".join(lines), encoding="utf-8")
        command: list[str | Path] = [
            tool,
            "--requirement",
            lock,
            "--require-hashes",
            "--disable-pip",
            "--format",
            "json",
        ]
        command += ["--vulnerability-service", "osv", "--osv-url", source, "--desc", "off", "--aliases", "on"]
        command += ["--progress-spinner", "off", "--timeout", str(round(OUT_OF_REACH_S)), "--output", answer]
        command += ["--cache-dir", Path(name, "cache")]
        failure = ""
        for _ in range(ATTEMPTS):
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=run_s, check=False)
            except subprocess.TimeoutExpired as error:
                raise OutOfReach(f"the look-ups were not done within {run_s:g} s") from error
            except OSError as error:
                raise AuditBroken(f"{tool} cannot be run: {error.strerror}") from error
            if done.returncode in {0, 1} and answer.exists():
                return _parse(answer.read_bytes())
            # It ends the same way for a lost connection and for a fault of its own.
            ask_source(source)
            said = done.stderr.strip().splitlines() or ["it said nothing"]
            failure = f"pip-audit ended with {done.returncode}: {said[-1]}"
        raise AuditBroken(failure)


def _parse(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except ValueError as error:
        raise AuditBroken(f"pip-audit wrote no JSON: {error}") from error


def _read(document: Any) -> dict[Pin, list[Advisory]]:
    """Return what a document of pip-audit says, by pin; what it skipped does not stand there."""
    try:
        audited = [one for one in document["dependencies"] if "skip_reason" not in one]
        return {
            (pin := Pin(_normal(one["name"]), one["version"])): [
                Advisory(pin, vuln["id"], frozenset(vuln["aliases"]), tuple(vuln["fix_versions"]))
                for vuln in one["vulns"]
            ]
            for one in audited
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise AuditBroken(f"pip-audit wrote a document of another shape: {error!r}") from error


def _ask(source: str, timeout_s: float) -> OutOfReach | None:
    """Return why the source does not count as there; None where it does."""
    query = {"package": {"name": CANARY.name, "ecosystem": "PyPI"}, "version": CANARY.version}
    try:
        answer = httpx.post(source, json=query, timeout=timeout_s, verify=_authorities())
        answer.raise_for_status()
        known = answer.json()["vulns"]
    except httpx.HTTPStatusError as error:
        return OutOfReach(f"it answered {error.response.status_code}")
    except (httpx.HTTPError, httpx.InvalidURL, ImportError, OSError) as error:
        return OutOfReach(str(error) or type(error).__name__)
    except (ValueError, TypeError, KeyError):
        return OutOfReach("what answers there is no source of advisories")
    return None if known else OutOfReach("what answers there is no source of advisories")


def _authorities() -> ssl.SSLContext:
    """Return the certificates that pip-audit trusts too."""
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if not bundle:
        return httpx.create_ssl_context()
    is_directory = Path(bundle).is_dir()
    return ssl.create_default_context(
        cafile=None if is_directory else bundle, capath=bundle if is_directory else None
    )


def _normal(name: str) -> str:
    return _SEPARATORS.sub("-", name).lower()


def _say(text: str) -> None:
    sys.stderr.write(f"audit: {text}\n")


if __name__ == "__main__":
    sys.exit(main())

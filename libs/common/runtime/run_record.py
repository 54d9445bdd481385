"""The note a running `bascule up` leaves in `var/run.json`, so that the other commands find it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

RUN_FILE: Final = "run.json"


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What runs where."""

    redis_url: str
    """Its password masked: it is written down nowhere but where it came from."""
    ingress_url: str
    config: str
    """Absolute path of the configuration file."""
    pid: int
    """Of `bascule up` itself."""
    ops: Mapping[str, int]
    """Process -> its ops port: `ingress`, `worker-1`, `reaper`..."""


def write_run_record(directory: Path, record: RunRecord) -> None:
    """Put the record into `directory`, readable by its owner alone, whole or not at all."""
    part = directory / f"{RUN_FILE}.part"
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    part.replace(directory / RUN_FILE)


def remove_run_record(directory: Path) -> None:
    """Take the record away again."""
    (directory / RUN_FILE).unlink(missing_ok=True)


def read_run_record(directory: Path) -> RunRecord | None:
    """Return the record in `directory`; None where none is, it cannot be read, or its process is gone."""
    try:
        record = msgspec.json.decode((directory / RUN_FILE).read_bytes(), type=RunRecord)
        os.kill(record.pid, 0)
    except (OSError, msgspec.DecodeError):
        return None
    return record

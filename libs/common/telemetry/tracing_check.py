"""What is wrong with the standard variables of an exporter: the SDK says so late, or in other words."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

LONGEST_TIMEOUT_S: Final = 300.0
"""Longer ones are meant in milliseconds, as the standard has it; the Python SDK reads seconds."""

COMPRESSIONS: Final = ("none", "gzip", "deflate")

_FILES: Final = ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")


def exporter_problems(environ: Mapping[str, str]) -> list[str]:
    """Return what an exporter cannot use, each with the variable's name; no value of a header is in it.

    Args:
        environ: The variables of the services.
    """
    found: list[str] = []
    for kind in ("", "TRACES_"):
        prefix = f"OTEL_EXPORTER_OTLP_{kind}"
        for name, value in ((name, environ.get(name, "").strip()) for name in _names(prefix)):
            if value and (problem := _problem(name.removeprefix(prefix), value)):
                found.append(f"{name}: {problem}")
    return found


def _names(prefix: str) -> list[str]:
    return [f"{prefix}{kind}" for kind in ("TIMEOUT", "COMPRESSION", "HEADERS", *_FILES)]


def _problem(kind: str, value: str) -> str | None:
    match kind:
        case "TIMEOUT":
            return _timeout_problem(value)
        case "COMPRESSION":
            return (
                None
                if value.lower() in COMPRESSIONS
                else f'"{value}" is not one of {", ".join(COMPRESSIONS)}'
            )
        case "HEADERS":
            is_right = all("=" in pair for pair in value.split(",") if pair.strip())
            return None if is_right else "it is no list of name=value, separated by commas"
        case _:
            return None if _is_readable(Path(value)) else f'"{value}" is no file that can be read'


def _timeout_problem(value: str) -> str | None:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        return f'"{value}" is no number of seconds'
    if seconds > LONGEST_TIMEOUT_S:
        return f'"{value}" counts as seconds here, more than {LONGEST_TIMEOUT_S:g}'
    return None


def _is_readable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.R_OK)

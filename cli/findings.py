"""What `check` and `doctor` find: one line each, in plain words, with what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from cli.exit_codes import ExitCode
from cli.output import painted, printable, write, write_json


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    """As it should be."""
    SKIPPED = "skip"
    """Not looked at, and nothing is wrong with that."""
    WARNING = "warning"
    """It works, but not well, or not for long."""
    WRONG = "wrong"
    """It does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    verdict: Verdict
    detail: str
    remedy: str = ""
    """What to do; empty where there is nothing to do."""


def ok(subject: str, detail: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(subject, Verdict.OK, detail)


def skipped(subject: str, detail: str) -> Finding:
    """Return that something was not looked at."""
    return Finding(subject, Verdict.SKIPPED, detail)


def warning(subject: str, detail: str, remedy: str) -> Finding:
    """Return that something works, but not well."""
    return Finding(subject, Verdict.WARNING, detail, remedy)


def wrong(subject: str, detail: str, remedy: str) -> Finding:
    """Return that something does not work."""
    return Finding(subject, Verdict.WRONG, detail, remedy)


def report(findings: Sequence[Finding], *, as_json: bool) -> ExitCode:
    """Write the findings and return the exit code: 1 where something is wrong, 3 with warnings only."""
    verdicts = {finding.verdict for finding in findings}
    if as_json:
        write_json(
            {
                "ok": verdicts <= {Verdict.OK, Verdict.SKIPPED},
                "findings": [_document(finding) for finding in findings],
            }
        )
    else:
        width = max((len(finding.subject) for finding in findings), default=0)
        for finding in findings:
            verdict = painted(finding.verdict) + " " * (len(Verdict.WARNING) - len(finding.verdict))
            write(f"{verdict}  {finding.subject:<{width}}  {printable(finding.detail)}")
            if finding.remedy:
                write(f"{'':<{len(Verdict.WARNING)}}  {'':<{width}}  -> {printable(finding.remedy)}")
    if Verdict.WRONG in verdicts:
        return ExitCode.FAILED
    return ExitCode.DEGRADED if Verdict.WARNING in verdicts else ExitCode.OK


def _document(finding: Finding) -> dict[str, str | None]:
    return {
        "subject": finding.subject,
        "verdict": finding.verdict.value,
        "detail": finding.detail,
        "remedy": finding.remedy or None,
    }

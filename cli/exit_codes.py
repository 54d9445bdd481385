"""What the exit codes of `bascule` mean."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The four outcomes that scripts may rely on."""

    OK = 0
    """Done, and all is well."""
    FAILED = 1
    """Not done, or what was looked for is not there."""
    USAGE = 2
    """The command line was wrong."""
    DEGRADED = 3
    """Done, and something is not well."""

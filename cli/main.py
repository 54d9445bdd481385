"""The `bascule` command: finds the sub-command's module, runs it, and turns errors into one line and an exit code."""

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

import click

from cli.exit_codes import ExitCode
from cli.output import ReaderGone, printable
from cli.text import demand_text
from libs.common.domain.errors import BridgeError

COMMANDS: Final = (
    "up",
    "send",
    "preview",
    "status",
    "alerts",
    "orders",
    "positions",
    "paper",
    "halt",
    "resume",
    "halts",
    "flatten",
    "dead-letters",
    "alarms",
    "events",
    "tail",
    "report",
    "webhook",
    "symbols",
    "check",
    "doctor",
)
"""The module of each is `cli.<name>` with `_` for `-` and holds a click command `command`."""


class LazyGroup(click.Group):
    """A group that imports a sub-command when it is called, so that the command starts quickly."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """Return the names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - the same
        """Return a command; None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"cli.{cmd_name.replace('-', '_')}").command
        demand_text(command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("bascule"), prog_name="bascule")
def bascule() -> None:
    """Carry TradingView alerts to brokers, and see what became of them.

    Exit codes: 0 ok, 1 failed, 2 usage, 3 degraded.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    A command returns its exit code, or None for 0. Only data goes to stdout.

    Args:
        arguments: Without the program's name; None takes those of the process.
    """
    _open_streams()
    try:
        result = bascule.main(args=arguments, prog_name="bascule", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BridgeError as error:
        click.echo(f"bascule: {printable(str(error))}", err=True)
        return ExitCode.FAILED
    except (click.Abort, KeyboardInterrupt):
        click.echo("bascule: interrupted", err=True)
        return 130
    except (ReaderGone, BrokenPipeError):
        # Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except OSError as error:
        # What the system refuses at a place of which nobody thought: it names the file, and a traceback would not help.
        click.echo(f"bascule: {printable(_refusal(error))}", err=True)
        return ExitCode.FAILED
    return result if isinstance(result, int) else ExitCode.OK


def _open_streams() -> None:
    """Let what was started with a stream closed (`<&-`) find nothing there, where Python gives no stream at all."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - as long as we live


def _refusal(error: OSError) -> str:
    """Return in words what the system refused."""
    try:
        Path.cwd()
    except OSError as gone:
        return f"the current directory cannot be used: {gone.strerror}; go to another"
    reason = error.strerror or str(error) or type(error).__name__
    return reason if error.filename is None else f"{error.filename}: {reason}"

"""The `bascule` command: finds the sub-command's module, runs it, and turns errors into one line and an exit code."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from types import MappingProxyType
from typing import Final

import click

from cli.exit_codes import ExitCode
from libs.common.domain.errors import BridgeError

COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "up": "Run the whole bridge here, in the foreground.",
        "send": "Post sample alerts.",
        "status": "Show what runs, what waits and which promise holds.",
        "alerts": "List alerts, or show one with its whole history.",
        "orders": "List orders.",
        "positions": "List positions.",
        "dead-letters": "List, show, replay or discard dead letters.",
        "events": "List what happened, refused posts too.",
        "check": "Check configuration, Redis and durability.",
        "doctor": "Check clock, ports, disk and broker keys.",
    }
)
"""Name -> one line of help; the module is `cli.<name>` with `_` for `-` and holds a click command `command`."""


class LazyGroup(click.Group):
    """A group that imports a sub-command when it is called, so that the command starts quickly."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """Return the names of the commands that exist."""
        return [name for name in COMMANDS if importlib.util.find_spec(_module(name)) is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; None where there is none of that name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(_module(cmd_name)).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])


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
    try:
        result = bascule.main(args=arguments, prog_name="bascule", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BridgeError as error:
        click.echo(f"bascule: {error}", err=True)
        return ExitCode.FAILED
    except (click.Abort, KeyboardInterrupt):
        click.echo("bascule: interrupted", err=True)
        return 130
    except BrokenPipeError:
        # The reader of our output (`| head`) has what it wanted; Python must not complain at exit. click does the same.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    return result if isinstance(result, int) else ExitCode.OK


def _module(name: str) -> str:
    return f"cli.{name.replace('-', '_')}"

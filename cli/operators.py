"""Who is at the keyboard, and whether he means it."""

import getpass
import socket
import sys

import click

from cli.context import Bridge
from cli.output import Failure, note
from libs.common.domain.errors import ConfigError
from libs.common.domain.ids import AccountName


def operator_name() -> str:
    """Return who runs the command, for the journal: user and machine, as the system names them."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def confirm_typed(word: str, question: str) -> None:
    """Ask for a word, which must be typed as it is.

    Raises:
        Failure: Something else was typed, or nothing.
    """
    click.echo(f"{question} ", err=True, nl=False)
    typed = sys.stdin.readline()
    if not typed.endswith("\n"):
        click.echo(err=True)
    if typed.strip() != word:
        raise Failure(f'not confirmed: expected "{word}"; nothing was done')


def known_account(bridge: Bridge, name: str) -> AccountName:
    """Return an account as the configuration writes it; as given, with a remark, where none can be read.

    What stops or closes must not wait for a file to be corrected.

    Raises:
        Failure: The configuration has none of that name.
    """
    from cli.symbols_table import find_account

    try:
        settings = bridge.settings()
        why = "no configuration is known"
    except ConfigError as error:
        settings, why = None, f"the configuration cannot be used ({error})"
    if settings is None:
        note(f"{why}, so whether there is an account {name} cannot be told")
        return AccountName(name)
    return find_account(settings, name)

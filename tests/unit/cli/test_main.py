import os
import subprocess
import sys

import click
import pytest

from cli.exit_codes import ExitCode
from cli.main import COMMANDS, main
from libs.common.domain.errors import ConfigError


@pytest.fixture
def run(monkeypatch):
    """Run a sub-command `up` that does what it is given."""
    import cli.up

    def run_with(body, *arguments):
        monkeypatch.setattr(cli.up, "command", click.command("up")(body))
        return main(["up", *arguments])

    return run_with


def failing(error):
    def body():
        raise error

    return body


def test_help_lists_the_commands_with_their_own_words(capsys):
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    for name in COMMANDS:
        assert f"  {name}  " in listed
    assert "..." not in listed.partition("Commands:")[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    assert main([name, "--help"]) == 0
    assert f"Usage: bascule {name} " in capsys.readouterr().out


def test_help_needs_neither_redis_nor_http():
    script = "import sys; from cli.main import main; main(['--help']); sys.exit('redis' in sys.modules or 'httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["--nonsense"], ["up", "--workers", "none"], ["up", "--workers", "0"]]
)
def test_a_wrong_command_line_is_usage(arguments):
    assert main(arguments) == ExitCode.USAGE


def test_the_version_is_that_of_the_distribution(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("bascule, version ")


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (1, 1), (ExitCode.DEGRADED, 3)])
def test_what_a_command_returns_is_the_exit_code(run, result, code):
    assert run(lambda: result) == code


def test_an_early_exit_keeps_its_code(run):
    assert run(lambda: click.get_current_context().exit(3)) == 3


def test_an_error_of_ours_is_one_line_on_stderr(run, capsys):
    assert run(failing(ConfigError("port 8080 is in use"))) == ExitCode.FAILED
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "bascule: port 8080 is in use\n")


def test_an_interrupt_is_no_traceback(run, capsys):
    assert run(failing(KeyboardInterrupt())) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_reader_that_has_enough_gets_no_complaint(size):
    script = "import click, cli.up, sys; from cli.main import main; from cli.output import write\n"
    script += f"cli.up.command = click.command('up')(lambda: write('x' * {size}))\n"
    script += "sys.exit(main(['up']))"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (ExitCode.OK, b"")

import os
import shlex
import subprocess
import sys
from pathlib import Path

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


def test_what_came_from_outside_drives_no_terminal(run, capsys):
    assert run(failing(ConfigError("got \x1b[2J and \udcff\n"))) == ExitCode.FAILED
    assert capsys.readouterr().err == "bascule: got \\x1b[2J and \\udcff\\n\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "/srv/var/redis"), "/srv/var/redis: Permission denied"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (TimeoutError("nobody answers"), "nobody answers"),
        (OSError(), "OSError"),
    ],
)
def test_what_the_system_refuses_is_one_line_that_names_the_file(run, capsys, error, said):
    assert run(failing(error)) == ExitCode.FAILED
    assert capsys.readouterr().err == f"bascule: {said}\n"


@pytest.mark.parametrize(
    ("arguments", "closed", "said"),
    [
        (["preview", "-"], "<&-", b"no running bridge found"),
        (["send", "--url", "http://127.0.0.1:9", "--secret-stdin"], "<&-", b"first line of stdin is empty"),
        (["--version"], ">&-", b""),
    ],
)
def test_a_closed_stream_is_an_empty_one(tmp_path, arguments, closed, said):
    words = shlex.join([sys.executable, "-m", "cli", *arguments])
    environ = {"PYTHONPATH": str(Path.cwd()), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        f"{words} {closed}",
        shell=True,
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        check=False,
    )
    assert said in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_directory_that_is_gone_is_named(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    script = "import os, sys; from cli.main import main; os.rmdir(os.getcwd()); sys.exit(main(['check']))"
    environ = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=gone, env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (ExitCode.FAILED, "")
    assert (
        done.stderr
        == "bascule: the current directory cannot be used: No such file or directory; go to another\n"
    )


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

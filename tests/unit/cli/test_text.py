"""What options and arguments may hold, whichever command they are of."""

import click
import pytest

from cli.exit_codes import ExitCode
from cli.main import main


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("send", "--symbol"), "'--symbol'"),
        (("send", "--id"), "'--id'"),
        (("send", "--sign-env"), "'--sign-env'"),
        (("send", "--hook"), "'--hook'"),
        (("halt", "--mode", "pause", "--reason"), "'--reason'"),
        (("flatten", "desk", "--reason"), "'--reason'"),
        (("flatten", "desk", "--symbol"), "'--symbol'"),
        (("flatten",), "'ACCOUNT'"),
        (("webhook", "show"), "'NAME'"),
        (("webhook", "create", "trend", "--account"), "'--account'"),
        (("symbols", "test"), "'SYMBOL'"),
        (("paper", "price", "desk"), "'MARKET'"),
        (("report", "--strategy"), "'--strategy'"),
    ],
)
@pytest.mark.parametrize(("value", "words"), [("", "it is empty"), ("a\udcff", "it is not UTF-8")])
def test_a_text_that_says_nothing_or_cannot_be_sent_is_refused_by_its_name(
    arguments: tuple[str, ...], named: str, value: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    price = ["1"] if arguments[0] == "paper" else []
    assert main([*arguments, value, *price]) == ExitCode.USAGE
    assert f"Invalid value for {named}: {words}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named", "most"),
    [
        (("halt", "--mode", "pause", "--reason"), "'--reason'", 500),
        (("resume", "--reason"), "'--reason'", 500),
        (("flatten", "desk", "--reason"), "'--reason'", 500),
        (("orders", "resolve", "abcdef", "--as", "filled", "--reason"), "'--reason'", 500),
        (("report", "--strategy"), "'--strategy'", 2_000),
        (("alerts", "--account"), "'--account'", 2_000),
        (("webhook", "show"), "'NAME'", 2_000),
        (("send", "--hook"), "'--hook'", 2_000),
    ],
)
def test_a_text_without_end_is_refused_by_its_name_its_length_and_the_most(
    arguments: tuple[str, ...], named: str, most: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "a" * 100_000]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert f"Invalid value for {named}: got 100000 characters, expected at most {most}" in said
    assert len(said) < 500


def test_what_is_posted_as_it_is_given_has_no_bound(capsys: pytest.CaptureFixture[str]) -> None:
    values = [
        word
        for name in ("symbol", "action", "price", "quantity", "id")
        for word in (f"--{name}", "a" * 3_000)
    ]
    main(["send", "--url", "nowhere", *values])
    assert "expected at most" not in capsys.readouterr().err


def test_a_default_and_a_file_are_no_such_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    import cli.up

    @click.command("up")
    @click.option("--name", default="x")
    @click.option("--other")
    @click.argument("file", type=click.Path())
    def command(name: str, other: str | None, file: str) -> int:
        return 0 if (name, other, file) == ("x", None, "a\udcff") else 1

    monkeypatch.setattr(cli.up, "command", command)
    assert main(["up", "a\udcff"]) == ExitCode.OK

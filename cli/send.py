"""`bascule send`: posts sample alerts, as TradingView would."""

import asyncio
from typing import IO

import click
from click.core import ParameterSource

from cli.context import find_bridge
from cli.exit_codes import ExitCode
from cli.filters import duration_ms, json_option
from cli.output import note, write_json
from cli.own_command import own_command
from cli.send_body import (
    DEFAULT_ACTION,
    DEFAULT_PRICE,
    DEFAULT_QUANTITY,
    DEFAULT_SYMBOL,
    FORM_TYPE,
    TEXT_TYPE,
    Form,
    Wanted,
    check_dialect,
    default_secret,
    needs_secret,
    posts,
    read_secret_line,
    signing_key,
)
from cli.send_post import has_token, is_accepted, post_all, say_answer, shown_url, summary, target_url
from cli.send_wait import Outcomes, ended_well, outcome_document, show_outcomes, wait_for
from cli.text import ANY_LENGTH

_OF_A_SAMPLE = ("symbol", "action", "price", "quantity", "sender_id", "dialect", "is_own_secret")
"""What says nothing beside --body."""


@click.command(name="send")
@click.option("--symbol", type=ANY_LENGTH, help=f"As TradingView writes it.  [default: {DEFAULT_SYMBOL}]")
@click.option("--action", type=ANY_LENGTH, help=f"buy or sell.  [default: {DEFAULT_ACTION}]")
@click.option(
    "--price",
    type=ANY_LENGTH,
    help=f"The reference price; the account's default without it, with --dialect {DEFAULT_PRICE}.",
)
@click.option(
    "--quantity",
    type=ANY_LENGTH,
    help=f"Base units; the account's default without it, with --dialect {DEFAULT_QUANTITY}.",
)
@click.option(
    "--id",
    "sender_id",
    type=ANY_LENGTH,
    help="The alert's id; a fresh one without it. The same one again is a duplicate.",
)
@click.option("--dialect", callback=check_dialect, help="Post this dialect's template, filled in.")
@click.option(
    "--body",
    type=click.File("rb"),
    metavar="FILE",
    help="Post a file as it is, or with - what stdin holds.",
)
@click.option("--text-plain", "is_text", is_flag=True, help="Declare it as text, whatever it is.")
@click.option("--form", "is_form", is_flag=True, help="Send it as a form.")
@click.option("--hook", help="The token of a webhook's URL, or that URL.")
@click.option(
    "--secret-stdin",
    "is_own_secret",
    is_flag=True,
    help="Take the secret from the first line of stdin; else it is the default webhook's.",
)
@click.option("--sign", metavar="KEY_NAME", help="Sign it with this key of signing_keys.")
@click.option("--sign-env", metavar="VARIABLE", help="Sign it with the key that a variable holds.")
@click.option(
    "--count", type=click.IntRange(1, 100_000), default=1, show_default=True, help="How many to post."
)
@click.option("--url", help="Where to; the running bridge's ingress without it.")
@click.option(
    "--wait", "is_waiting", is_flag=True, help="Wait until they ended and show what became of them."
)
@click.option(
    "--timeout",
    "timeout_ms",
    default="60s",
    show_default=True,
    callback=duration_ms,
    help="How long --wait waits.",
)
@json_option
@click.pass_context
def command(
    context: click.Context,
    symbol: str | None,
    action: str | None,
    price: str | None,
    quantity: str | None,
    sender_id: str | None,
    dialect: str | None,
    body: IO[bytes] | None,
    is_text: bool,
    is_form: bool,
    hook: str | None,
    is_own_secret: bool,
    sign: str | None,
    sign_env: str | None,
    count: int,
    url: str | None,
    is_waiting: bool,
    timeout_ms: int,
    as_json: bool,
) -> int:
    """Post sample alerts to the running bridge.

    Values are posted as they are given, so that refusals can be tried out too.
    """
    _check_usage(context)
    is_whole_url = url is not None or (hook is not None and "://" in hook)
    bridge = None if is_whole_url and not is_waiting and sign is None else find_bridge()
    target = target_url(bridge, url, hook)
    content = None if body is None else body.read()
    wanted = Wanted(symbol, action, price, quantity, sender_id, dialect, content)
    form = Form(TEXT_TYPE if is_text else FORM_TYPE if is_form else None, signing_key(bridge, sign, sign_env))
    secret = ""
    if is_own_secret:
        secret = read_secret_line()
    elif needs_secret(wanted, has_token=has_token(target), is_signed=form.signing_key is not None):
        secret = default_secret(bridge)
    tell = (lambda _: None) if as_json else say_answer
    answers = asyncio.run(post_all(target, posts(wanted, form, secret, count), tell))
    outcomes, problem = Outcomes(), ""
    if is_waiting and bridge is not None:
        outcomes, problem = wait_for(bridge, answers, timeout_ms)
    if as_json:
        documents = [outcome_document(one, outcomes) if is_waiting else one for one in answers]
        write_json(documents[0] if count == 1 else documents)
    else:
        show_outcomes(outcomes, count)
        if count > 1:
            note(summary(answers, count))
        elif is_accepted(answers[0]) and not is_waiting:
            note(f"what becomes of it: {own_command()} alerts {answers[0].get('alert_id')}")
        public_url = None if bridge is None or url is not None or hook is not None else bridge.public_url()
        if public_url is not None:
            note(f"posted to {shown_url(target)}; TradingView posts to {public_url}")
    if problem:
        note(f"bascule: {problem}")
    is_well = len(answers) == count and all(is_accepted(answer) for answer in answers)
    if is_waiting:
        is_well = is_well and all(ended_well(answer, outcomes) for answer in answers)
    return ExitCode.OK if is_well else ExitCode.FAILED


def _check_usage(context: click.Context) -> None:
    """Refuse options of which one makes the other say nothing.

    Raises:
        UsageError: There are such.
    """

    def given(*names: str) -> list[str]:
        flags = {param.name: param.opts[0] for param in context.command.params}
        return [
            flags[name] for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        ]

    for pair in (("is_text", "is_form"), ("sign", "sign_env")):
        if len(both := given(*pair)) > 1:
            raise click.UsageError(f"{' and '.join(both)}: expected one of them")
    if given("body") and (others := given(*_OF_A_SAMPLE)):
        raise click.UsageError(f"--body: a file is posted as it is, expected it without {', '.join(others)}")

"""Posts what `bascule send` has made, one after the other, and tells the answers."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

import click

from cli.addresses import webhook_url
from cli.context import Bridge
from cli.documents import Document
from cli.output import Failure, cell, note, write

if TYPE_CHECKING:
    import httpx

    from cli.send_body import Outgoing

POST_TIMEOUT_S: Final = 5.0
FAILURES_IN_A_ROW: Final = 3
"""After so many posts without an answer the rest is not posted."""

_HOOKS: Final = "/hooks/"
_MASK: Final = "***"


def target_url(bridge: Bridge | None, url: str | None, hook: str | None) -> str:
    """Return where to post.

    Args:
        bridge: Whose ingress it is where nothing else says so.
        url: An ingress, or a whole address.
        hook: The token of a webhook's URL, or the URL itself.

    Raises:
        Failure: Nothing says where the ingress is.
        UsageError: An address is none.
    """
    if hook is not None and "://" in hook:
        if url is not None:
            raise click.UsageError("--url: expected a token in --hook beside it, not a whole address")
        return _checked(hook, "--hook")
    base = url
    if base is None and bridge is not None:
        base = bridge.ingress_url()
    if base is None:
        raise Failure("nothing says where the ingress is: give --url, or set BASCULE_CONFIG")
    is_bare = urlsplit(_checked(base, "--url")).path in {"", "/"}
    if hook is None:
        return webhook_url(base) if is_bare else base
    if not is_bare:
        raise click.UsageError(f'--url: got "{shown_url(base)}", expected no path beside --hook')
    return f"{base.rstrip('/')}{_HOOKS}{quote(hook, safe='')}"


def shown_url(url: str) -> str:
    """Return a URL without the token that it may hold."""
    try:
        parts = urlsplit(url)
    except ValueError:  # no address at all
        before, found, _ = url.partition(_HOOKS)
        return f"{before}{found}{_MASK if found else ''}"
    before, found, _ = parts.path.partition(_HOOKS)
    return urlunsplit(parts._replace(path=f"{before}{_HOOKS}{_MASK}", query="")) if found else url


def has_token(url: str) -> bool:
    """Return whether a URL is one of a webhook with a token."""
    return _HOOKS in urlsplit(url).path


def _checked(url: str, option: str) -> str:
    from libs.common.wire.web_address import is_web_address

    if not is_web_address(url):
        raise click.UsageError(f'{option}: got "{shown_url(url)}", expected an http:// or https:// address')
    return url


async def post_all(url: str, posts: "Iterable[Outgoing]", tell: Callable[[Document], None]) -> list[Document]:
    """Post one after the other over one connection, and return status and body of each answer.

    A post without an answer has no status, and an error that says why. Where nobody listens, or several in a row get
    no answer, the rest is not posted.

    Args:
        url: Where to.
        posts: What.
        tell: Called with each answer as it comes.

    Raises:
        Failure: The address cannot be used.
    """
    import httpx

    answers: list[Document] = []
    failures = 0
    # A proxy from the environment has no business between us and our own bridge.
    async with httpx.AsyncClient(timeout=POST_TIMEOUT_S, trust_env=False) as client:
        for post in posts:
            try:
                answer = await client.post(url, content=post.content, headers=post.headers)
            except httpx.InvalidURL as error:
                raise Failure(f"no answer from {shown_url(url)}: {error}") from error
            except httpx.HTTPError as error:
                answers.append(_unanswered(url, post.sender_id, error))
                failures = FAILURES_IN_A_ROW if isinstance(error, httpx.ConnectError) else failures + 1
            else:
                answers.append({"status": answer.status_code} | _body_of(answer.content))
                failures = 0
            tell(answers[-1])
            if failures >= FAILURES_IN_A_ROW:
                break
    return answers


def _unanswered(url: str, sender_id: str | None, error: "httpx.HTTPError") -> Document:
    """Return what stands for the answer to a post that got none."""
    import httpx

    said = f": {error}" if str(error) else ""
    named = "" if sender_id is None else f": id {sender_id}"
    match error:
        case httpx.ConnectError():
            why = f"cannot connect{said}"
        case httpx.TimeoutException():
            why = f"none within {POST_TIMEOUT_S:g} s; the alert may have come in{named}"
        case httpx.NetworkError() | httpx.ProtocolError():
            why = f"the connection ended before one came{said}; the alert may have come in{named}"
        case _:
            why = str(error) or type(error).__name__
    return {
        "status": None,
        "error": {"code": "no_answer", "detail": f"no answer from {shown_url(url)}: {why}"},
        "id": sender_id,
    }


def _body_of(content: bytes) -> Document:
    import orjson

    try:
        body: Any = orjson.loads(content)
    except orjson.JSONDecodeError:
        body = None
    return body if isinstance(body, dict) else {"body": content.decode("utf-8", "replace")}


def is_accepted(answer: Document) -> bool:
    """Return whether an answer says that the alert is durable."""
    return answer["status"] is not None and answer["status"] // 100 == 2


def say_answer(answer: Document) -> None:
    """Write an answer as soon as it is there."""
    if answer["status"] is None:
        note(f"bascule: {answer['error']['detail']}")
    elif is_accepted(answer):
        duplicate = ", a duplicate" if answer.get("duplicate") else ""
        write(f"{answer['status']} alert {cell(answer.get('alert_id'))}{duplicate}")
    else:
        error: Any = answer.get("error")
        is_ours = isinstance(error, dict)
        words = (
            f"{cell(error.get('code'))}: {cell(error.get('detail'))}" if is_ours else cell(answer.get("body"))
        )
        write(f"{answer['status']} {words}")


def summary(answers: list[Document], count: int) -> str:
    """Return in words how many of so many posts were answered how."""
    accepted = sum(is_accepted(answer) for answer in answers)
    duplicates = sum(bool(answer.get("duplicate")) for answer in answers)
    unanswered = sum(answer["status"] is None for answer in answers)
    words = f"{len(answers)} posted: {accepted} accepted, {duplicates} of them duplicates"
    if unanswered:
        words += f"; {unanswered} without an answer"
    if len(answers) < count:
        words += f"; stopped there, {count - len(answers)} were not posted"
    return words

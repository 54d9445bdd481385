"""Heads that were read before are not read again, and mean the same."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from uvicorn.config import Config
from uvicorn.server import ServerState

from libs.common.telemetry.server_metrics import ServerMetrics
from libs.common.web import known_heads
from libs.common.web.connections import Connections
from libs.common.web.known_heads import Head, KnownHeads
from libs.common.web.protocol import Connecting
from libs.common.web.whole_request import WholeRequest
from tests.unit.libs.common.web.running_server import GET, post

HEADERS = ((b"host", b"x"), (b"content-length", b"3"))
HEAD = Head(b"/echo", "/echo", "1.1", HEADERS, keep_alive=True, length=3)
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
CLOSE = post(b"abc", headers=b"Connection: close\r\n")
ABC = post(b"abc")
SLOW = post(b"abc", "/slow")
SLOW_CLOSE = post(b"abc", "/slow", headers=b"Connection: close\r\n")
QUICK = post(b"abc", "/quick")
POST_OF_ABC = post(ABC, "/quick")
OLD = post(b"abc").replace(b"HTTP/1.1", b"HTTP/1.0")


def known(data: bytes = post(b"abc"), head: Head = HEAD) -> KnownHeads:
    heads = KnownHeads()
    heads.learn(data, head)
    return heads


def test_a_head_is_known_with_any_body_of_its_length() -> None:
    assert known().find(post(b"xyz")) == (HEAD, b"xyz")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(post(b"abc", "/echp"), id="another path"),
        pytest.param(post(b"abc", headers=b"X: y\r\n"), id="another header"),
        pytest.param(post(b"abc").replace(b"Host", b"host"), id="another letter"),
        pytest.param(post(b"abc")[:-1], id="less than the body"),
        pytest.param(post(b"abc") + b"P", id="more than the body"),
        pytest.param(post(b"abc")[:-3], id="no body"),
        pytest.param(post(b"abc")[:-7], id="no end of the head"),
        pytest.param(b"\r\n" + post(b"abc"), id="an empty line before it"),
        pytest.param(post(b"abc")[1:], id="not its beginning"),
    ],
)
def test_what_differs_in_any_byte_is_not_known(data: bytes) -> None:
    assert known().find(data) is None


@pytest.mark.parametrize(
    ("data", "head"),
    [
        pytest.param(post(b"abc"), msgspec.structs.replace(HEAD, headers=HEADERS[:1]), id="no length"),
        pytest.param(post(b"abcd"), HEAD, id="another length"),
        pytest.param(post(b"abc", "/echoes"), HEAD, id="another address"),
        pytest.param(
            post(b"abc", headers=b"X: " + b"y" * known_heads.MAX_HEAD_BYTES + b"\r\n"), HEAD, id="a long head"
        ),
    ],
)
def test_what_a_head_alone_does_not_tell_or_is_too_long_is_not_remembered(data: bytes, head: Head) -> None:
    assert known(data, head).find(data) is None


def test_no_more_heads_are_remembered_than_may_be() -> None:
    heads = KnownHeads()
    for number in range(10 * known_heads.MAX_HEADS):
        head = msgspec.structs.replace(HEAD, url=f"/{number}".encode())
        heads.learn(post(b"abc", f"/{number}"), head)
        assert heads.find(post(b"abc", f"/{number}")) is not None
        assert len(heads._heads) <= known_heads.MAX_HEADS


def test_half_a_head_is_not_taken_for_one_without_a_body() -> None:
    data = post(b"")
    head = msgspec.structs.replace(HEAD, headers=((b"content-length", b"0"),), length=0)
    assert known(data, head).find(data.removesuffix(b"\r\n\r\n")) is None


class Forgetful(KnownHeads):
    """Knows no head, so that each is parsed."""

    def learn(self, data: bytes, head: Head) -> None:
        """Forget it at once."""


class Wire(asyncio.Transport):
    """A connection's other side, which keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.is_closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 9), "sockname": ("127.0.0.1", 80)}.get(name, default)

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data))

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None:
        """Go on all the same: what comes is what the test sends."""

    def resume_reading(self) -> None:
        """Go on."""


class Stage:
    """Two connections of a server that answers whole posts at once, or later."""

    def __init__(self, heads: KnownHeads) -> None:
        self.taken: list[tuple[Any, ...]] = []
        self.app_got: list[tuple[Any, ...]] = []
        self.waiting: list[WholeRequest] = []
        connecting = Connecting(Connections(ServerMetrics(CollectorRegistry()), 9), self.take_whole)
        connecting.heads = heads
        config = Config(self.app, log_config=None, interface="asgi3", lifespan="off", ws="none")
        config.load()
        self.wires = [Wire(), Wire()]
        self.connections = [
            connecting(config, ServerState(), {}, asyncio.get_running_loop()) for _ in self.wires
        ]
        for connection, wire in zip(self.connections, self.wires, strict=True):
            connection.connection_made(wire)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        # Some are answered before their body has come.
        message = {} if scope["path"] == "/quick" else await receive()
        self.app_got.append((scope["path"], list(scope["headers"]), message.get("body")))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    def take_whole(self, request: WholeRequest) -> bool:
        scope = {name: list(value) if name == "headers" else value for name, value in request.scope.items()}
        self.taken.append((scope, request.body, request.keep_alive))
        # Whoever refuses a post notes so there.
        request.scope["noted"] = True
        if request.scope["path"] == "/slow":
            self.waiting.append(request)
        elif request.scope["path"] == "/echo":
            request.answer(b"content-length: 0\r\n", b"")
        else:
            return False
        return True

    async def send(self, steps: list[tuple[int, bytes]]) -> None:
        for number, data in steps:
            if not self.wires[number].is_closed:
                self.connections[number].data_received(data)
            if number and self.waiting:
                self.waiting.pop(0).answer(b"content-length: 0\r\n", b"")
            await turns(5)
        # Many may have waited for the last answer.
        await turns(100)


async def turns(count: int) -> None:
    """Let the loop take some turns: of what is under way nothing waits for anything else."""
    for _ in range(count):
        await asyncio.sleep(0)


WHOLE = st.sampled_from(
    [
        *(
            post(body, path)
            for body in (b"abc", b"xyz", b"")
            for path in ("/echo", "/slow", "/app", "/quick")
        ),
        post(b"abc", "/echo?x"),
        post(b"\r\n\r\nabc"),
        post(b"abc", headers=b"X-Signature: 00\r\n"),
        POST_OF_ABC,
        CHUNKED,
        CLOSE,
        SLOW_CLOSE,
        OLD,
        GET,
        b"\r\n",
        b"POST /echo HTTP/1.1\r\n\r\n",
        b"no request\r\n\r\n",
    ]
)


@st.composite
def pieces(draw: st.DrawFn) -> list[bytes]:
    """Return requests as the network may hand them over: alone, several at once, or cut anywhere."""
    data = b"".join(draw(st.lists(WHOLE, min_size=1, max_size=3)))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=2)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def steps_of(drawn: list[tuple[int, list[bytes]]]) -> Iterator[tuple[int, bytes]]:
    return ((number, piece) for number, some in drawn for piece in some)


@given(st.lists(st.tuples(st.integers(0, 1), pieces()), min_size=1, max_size=8).map(steps_of).map(list))
# A known head within a body, whose request is answered already.
@example([(1, ABC), (0, POST_OF_ABC[: -len(ABC)]), (0, ABC), (0, ABC)])
# What is left of a body before another request is no part of its head.
@example([(0, QUICK[:-2]), (0, QUICK[-2:] + ABC), (1, QUICK[-2:] + ABC)])
# The rest of a head is none.
@example([(0, ABC[:5]), (0, ABC[5:]), (1, ABC[5:])])
# One waits behind another.
@example([(0, ABC), (0, SLOW), (0, ABC), (1, b"\r\n")])
# What is under way is not idle.
@example([(0, ABC), (1, SLOW), (0, SLOW)])
# Nothing follows the last answer.
@example([(0, ABC), (0, CLOSE), (0, ABC)])
@example([(1, CLOSE), (0, CLOSE), (0, ABC)])
# What comes behind a last request that still waits for its answer has not its head.
@example([(0, SLOW_CLOSE), (0, ABC), (1, ABC)])
# What is left to the app, once and again.
@example([(0, ABC), (0, post(b"abc", "/echo?x")), (0, post(b"abc", "/echo?x"))])
@example([(0, ABC), (0, b"no request\r\n\r\n"), (0, ABC)])
@example([(0, ABC), (0, SLOW), (0, b"no request\r\n\r\n"), (1, b"\r\n"), (0, ABC)])
async def test_what_comes_means_the_same_whether_its_heads_are_known_or_not(
    steps: list[tuple[int, bytes]],
) -> None:
    seen = []
    for heads in (KnownHeads(), Forgetful()):
        stage = Stage(heads)
        await stage.send(steps)
        answers = [b"".join(wire.sent) for wire in stage.wires]
        # An id of its own stands in each refusal.
        answers = [one.partition(b'"event_id"')[0] for one in answers]
        idle = [bool(connection.idle_since) for connection in stage.connections]
        closed = [wire.is_closed for wire in stage.wires]
        seen.append((stage.taken, stage.app_got, answers, idle, closed))
    assert seen[0] == seen[1]


async def test_a_head_that_was_read_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(KnownHeads())
    await stage.send([(0, ABC)])
    for connection in stage.connections:
        monkeypatch.setattr(connection, "parser", None)
    await stage.send([(0, post(b"xyz")), (1, post(b"def"))])
    assert [body for _, body, _ in stage.taken] == [b"abc", b"xyz", b"def"]
    scopes = [scope for scope, _, _ in stage.taken]
    assert scopes[0] == scopes[1] == scopes[2]
    assert [one.count(b"HTTP/1.1 200") for one in map(b"".join, (wire.sent for wire in stage.wires))] == [
        2,
        1,
    ]

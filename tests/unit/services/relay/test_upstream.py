"""One signed post to the upstream, and what its answer means."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.runtime.secrets import Secret
from libs.common.wire.signing import is_signed
from services.relay.upstream import MAX_ANSWER_BYTES, MOST_CONNECTIONS, Upstream, UpstreamFailed
from tests.support.certificates import Authority
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.upstream import Upstream as Recording

KEY = "a-signing-key-of-length"
TLS = ssl.create_default_context()


@pytest.fixture
async def recording() -> AsyncIterator[Recording]:
    async with Recording() as running:
        yield running


@pytest.fixture
async def upstream(recording: Recording) -> AsyncIterator[Upstream]:
    upstream = Upstream(Secret(f"{recording.url}/hooks/name?x=1"), Secret(KEY), TLS)
    yield upstream
    await upstream.aclose()


@given(body=st.binary(max_size=2_000))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_body_arrives_byte_for_byte_with_its_signature(body: bytes) -> None:
    async def post() -> None:
        async with Recording() as recording:
            upstream = Upstream(Secret(recording.url), Secret(KEY), TLS)
            await upstream.post(body, content_type=None, client=None)
            await upstream.aclose()
            (received,) = recording.received
            (signature,) = received.values("x-signature")
            assert received.body == body
            assert signature.startswith("sha256=")
            assert is_signed(KEY, received.body, signature)

    asyncio.run(post())


async def test_a_post_carries_the_type_it_came_with_and_the_senders_address(
    recording: Recording, upstream: Upstream
) -> None:
    await upstream.post(b"x", content_type="text/plain; charset=utf-8", client=ip_address("203.0.113.9"))
    await upstream.post(b"x", content_type=None, client=None)

    first, second = recording.received
    assert (first.method, first.target) == ("POST", "/hooks/name?x=1")
    assert first.values("content-type") == ["text/plain; charset=utf-8"]
    assert first.values("x-forwarded-for") == ["203.0.113.9"]
    assert first.values("content-length") == ["1"]
    assert second.values("content-type") == second.values("x-forwarded-for") == []
    assert first.connection == second.connection


@pytest.mark.parametrize(
    "status", [200, 202, 204, 400, 401, 403, 404, 409, 413, 422, 429, 500, 502, 503, 599]
)
async def test_an_answer_comes_back_as_it_is(recording: Recording, upstream: Upstream, status: int) -> None:
    body = b"" if status == 204 else b'{"ok": 1 }\xff'
    recording.answers(status, body, content_type="x/y", retry_after="7", set_cookie="a=b", server="s")

    answer = await upstream.post(b"x", content_type=None, client=None)

    assert (answer.status, answer.body) == (status, body)
    assert sorted(answer.headers) == [(b"content-type", b"x/y"), (b"retry-after", b"7")]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (504, "upstream_late"),
        (300, "upstream_redirect"),
        (301, "upstream_redirect"),
        (304, "upstream_redirect"),
        (307, "upstream_redirect"),
        (308, "upstream_redirect"),
        (600, "upstream_broken"),
        (999, "upstream_broken"),
    ],
)
async def test_an_answer_that_would_be_misunderstood_is_a_failure(
    recording: Recording, upstream: Upstream, status: int, code: str
) -> None:
    recording.answers(status, b"", location=f"{recording.url}/elsewhere")

    with pytest.raises(UpstreamFailed) as caught:
        await upstream.post(b"x", content_type=None, client=None)

    assert caught.value.code == code
    assert [one.target for one in recording.received] == ["/hooks/name?x=1"]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot-a-length\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * MAX_ANSWER_BYTES)
        + b"." * (2 * MAX_ANSWER_BYTES),
    ],
    ids=["closed", "not HTTP", "cut off", "bad chunks", "endless"],
)
async def test_a_broken_answer_is_a_failure_and_nothing_is_sent_twice(
    recording: Recording, upstream: Upstream, answer: bytes | None
) -> None:
    recording.answer = answer
    recording.is_last = True

    with pytest.raises(UpstreamFailed) as caught:
        await upstream.post(b"x", content_type=None, client=None)

    assert caught.value.code == "upstream_broken"
    assert len(recording.received) == 1
    recording.answers(200)
    assert (await upstream.post(b"y", content_type=None, client=None)).status == 200


async def test_nobody_there_is_a_failure_that_says_so() -> None:
    upstream = Upstream(Secret(f"http://127.0.0.1:{free_port()}/"), Secret(KEY), TLS)

    with pytest.raises(UpstreamFailed, match="ConnectError") as caught:
        await upstream.post(b"x", content_type=None, client=None)

    assert caught.value.code == "upstream_unreachable"
    await upstream.aclose()


@pytest.mark.parametrize("wants_certificate", [False, True])
async def test_a_post_over_tls_arrives_or_fails_in_words(tmp_path: Path, wants_certificate: bool) -> None:
    authority = Authority(tmp_path, "authority")
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(*authority.issue("server", "/CN=server", "IP:127.0.0.1"))
    if wants_certificate:
        own.verify_mode = ssl.CERT_REQUIRED
        own.load_verify_locations(authority.certificate)
    async with Recording(tls=own) as recording:
        believing = ssl.create_default_context(cafile=str(authority.certificate))
        upstream = Upstream(Secret(recording.url), Secret(KEY), believing)
        if wants_certificate:
            with pytest.raises(UpstreamFailed):
                await upstream.post(b"x", content_type=None, client=None)
        else:
            assert (await upstream.post(b"x", content_type=None, client=None)).status == 200
        await upstream.aclose()
        suspicious = Upstream(Secret(recording.url), Secret(KEY), TLS)
        with pytest.raises(UpstreamFailed, match="certificate verify failed"):
            await suspicious.post(b"x", content_type=None, client=None)
        await suspicious.aclose()


async def test_posts_given_up_free_their_connections(recording: Recording, upstream: Upstream) -> None:
    recording.gate.clear()
    posts = [
        asyncio.create_task(upstream.post(b"x", content_type=None, client=None))
        for _ in range(2 * MOST_CONNECTIONS)
    ]
    await eventually(lambda: len(recording.received) == MOST_CONNECTIONS, 30)
    for post in posts:
        post.cancel()
    await asyncio.gather(*posts, return_exceptions=True)
    recording.gate.set()

    answers = await asyncio.gather(
        *(upstream.post(b"x", content_type=None, client=None) for _ in range(2 * MOST_CONNECTIONS))
    )

    assert {answer.status for answer in answers} == {200}

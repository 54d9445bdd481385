"""Redis behind TLS: who is trusted, and what is said where one side does not trust the other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from libs.common.domain.errors import ConfigError, StoreBarred, StoreUnavailable
from libs.common.store.checks import check_server
from libs.common.store.client import connect
from tests.support.eventually import eventually
from tests.support.redis_sentinel import SERVICE, Sentinel
from tests.support.tls_redis import Desk, TlsServer, tls_server

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk.at(tmp_path_factory.mktemp("certificates"))


async def ask(address: str) -> None:
    """Do what every service does first."""
    client = connect(address, timeout_s=2)
    try:
        await check_server(client, "always")
    finally:
        await client.aclose()


async def refusal(address: str) -> StoreBarred:
    with pytest.raises(StoreBarred) as caught:
        await ask(address)
    assert len(f"{caught.value}: {caught.value.remedy}".splitlines()) == 1
    return caught.value


async def test_a_server_whose_signer_is_named_is_trusted(desk: Desk) -> None:
    with tls_server(desk, *desk.issue("good")) as redis:
        await ask(redis.address(ssl_ca_certs=desk.ours.certificate))


@pytest.mark.parametrize("protocol", ["TLSv1.2", "TLSv1.3"])
async def test_a_client_certificate_lets_in_where_the_server_asks_for_one(desk: Desk, protocol: str) -> None:
    certificate, key = desk.issue("client", "DNS:client")
    both = desk.directory / "both.pem"
    both.write_text(certificate.read_text() + key.read_text())
    with tls_server(desk, *desk.issue("good"), tls_auth_clients="yes", tls_protocols=protocol) as redis:
        ca = desk.ours.certificate
        await ask(redis.address(ssl_ca_certs=ca, ssl_certfile=certificate, ssl_keyfile=key))
        await ask(redis.address(ssl_ca_certs=ca, ssl_certfile=both))


async def test_sentinels_and_the_primary_that_they_name_are_both_spoken_to_by_tls(desk: Desk) -> None:
    certificate, key = desk.issue("good")
    files = {
        "tls-cert-file": str(certificate),
        "tls-key-file": str(key),
        "tls-ca-cert-file": str(desk.ours.certificate),
        "tls-auth-clients": "no",
    }
    with (
        tls_server(desk, certificate, key) as redis,
        Sentinel(redis.server.binary, redis.tls_port, quorum=1, tls=files) as sentinel,
    ):
        address = f"rediss+sentinel://127.0.0.1:{sentinel.port}/{SERVICE}"
        await ask(f"{address}?ssl_ca_certs={desk.ours.certificate}")
        barred = await refusal(address)
        assert "certificate is not accepted" in str(barred)


UNTRUSTED: dict[
    str, tuple[Callable[[Desk], tuple[Path, Path]], Callable[[Desk, TlsServer], str], str, str]
] = {
    "no signer is named": (
        lambda desk: desk.issue("good"),
        lambda _, redis: redis.address(),
        "certificate is not accepted: self-signed certificate in certificate chain",
        "ssl_ca_certs",
    ),
    "another signer is named": (
        lambda desk: desk.issue("good"),
        lambda desk, redis: redis.address(ssl_ca_certs=desk.strangers.certificate),
        "certificate is not accepted: self-signed certificate in certificate chain",
        "ssl_ca_certs",
    ),
    "its certificate has expired": (
        lambda desk: desk.issue("late", days=-1),
        lambda desk, redis: redis.address(ssl_ca_certs=desk.ours.certificate),
        "certificate has expired",
        "give Redis another",
    ),
    "its certificate is for another name": (
        lambda desk: desk.issue("elsewhere", "DNS:redis.example"),
        lambda desk, redis: redis.address("localhost", ssl_ca_certs=desk.ours.certificate),
        "not valid for 'localhost'",
        "have it made for this one too",
    ),
    "its certificate is for another address": (
        lambda desk: desk.issue("far", "IP:203.0.113.1"),
        lambda desk, redis: redis.address(ssl_ca_certs=desk.ours.certificate),
        "not valid for '127.0.0.1'",
        "have it made for this one too",
    ),
}


@pytest.mark.parametrize("case", UNTRUSTED)
async def test_a_server_that_cannot_be_trusted_is_refused_in_clear_words(desk: Desk, case: str) -> None:
    issued, addressed, words, remedy = UNTRUSTED[case]
    with tls_server(desk, *issued(desk)) as redis:
        refused = await refusal(addressed(desk, redis))

    assert words in str(refused)
    assert remedy in refused.remedy


@pytest.mark.parametrize("protocol", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("case", ["none", "a stranger's", "an expired one"])
async def test_a_client_certificate_that_the_server_does_not_take_is_named(
    desk: Desk, case: str, protocol: str
) -> None:
    files: dict[str, Any] = {}
    if case != "none":
        is_strangers = case == "a stranger's"
        authority = desk.strangers if is_strangers else desk.ours
        pair = authority.issue("caller", "/CN=caller", "DNS:caller", days=2 if is_strangers else -1)
        files = dict(zip(("ssl_certfile", "ssl_keyfile"), pair, strict=True))
    with (
        tls_server(desk, *desk.issue("good"), tls_auth_clients="yes", tls_protocols=protocol) as redis,
        pytest.raises(StoreUnavailable) as caught,
    ):
        await ask(redis.address(ssl_ca_certs=desk.ours.certificate, **files))

    # Where the reset overtakes the alert, all that is known is that nothing was answered.
    words = f"{caught.value}: {getattr(caught.value, 'remedy', '')}"
    assert "our certificate" in words or "client certificate" in words
    assert "ssl_certfile" in words


async def test_a_plain_connection_to_a_tls_port_is_told_to_use_tls(desk: Desk) -> None:
    with tls_server(desk, *desk.issue("good")) as redis:
        for _ in range(20):  # the server's reset meets the first command at another moment each time
            with pytest.raises(StoreUnavailable, match=r"must begin with rediss://"):
                await ask(f"redis://127.0.0.1:{redis.tls_port}/0")


async def test_tls_to_a_plain_port_is_told_so(desk: Desk) -> None:
    with tls_server(desk, *desk.issue("good")) as redis:
        address = f"rediss://127.0.0.1:{redis.server.port}/0?ssl_ca_certs={desk.ours.certificate}"
        with pytest.raises(StoreUnavailable, match="perhaps it does not speak TLS"):
            await ask(address)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("ssl_ca_certs=/nowhere/ca.pem", 'in "ssl_ca_certs" .*/nowhere/ca.pem: No such file'),
        ("ssl_ca_certs={junk}", 'in "ssl_ca_certs" .*no PEM file'),
        ("ssl_certfile=/nowhere/client.pem", 'in "ssl_certfile" .*/nowhere/client.pem: No such file'),
        (
            "ssl_certfile={certificate}&ssl_keyfile=/nowhere/client.key",
            'in "ssl_keyfile" .*/nowhere/client.key: No such file',
        ),
        ("ssl_certfile={certificate}", 'in "ssl_certfile" .*ssl_keyfile must name its key'),
        (
            "ssl_certfile={certificate}&ssl_keyfile={other}",
            'in "ssl_certfile" .*ssl_keyfile must name its key',
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_named_before_anything_is_sent(
    desk: Desk, tmp_path: Path, options: str, words: str
) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    certificate, _ = desk.issue("client")
    _, other = desk.issue("other")
    given = options.format(junk=junk, certificate=certificate, other=other)
    with pytest.raises(ConfigError, match=words):
        connect(f"rediss://127.0.0.1:1/0?{given}", timeout_s=1)


async def test_a_renewed_file_counts_from_the_next_connection_on(desk: Desk, tmp_path: Path) -> None:
    named = tmp_path / "ca.pem"
    named.write_bytes(desk.strangers.certificate.read_bytes())
    with tls_server(desk, *desk.issue("good")) as redis:
        client = connect(redis.address(ssl_ca_certs=named), timeout_s=2)
        try:
            with pytest.raises(StoreBarred):
                await check_server(client, "always")
            named.write_bytes(desk.ours.certificate.read_bytes())
            await check_server(client, "always")
        finally:
            await client.aclose()


async def test_a_connection_over_tls_comes_back_after_a_restart(desk: Desk) -> None:
    with tls_server(desk, *desk.issue("good")) as redis:
        client = connect(redis.address(ssl_ca_certs=desk.ours.certificate), timeout_s=2)
        try:
            await check_server(client, "always")
            redis.server.restart()

            async def answers() -> bool:
                try:
                    await check_server(client, "always")
                except StoreBarred:
                    raise
                except StoreUnavailable:
                    return False
                return True

            assert await eventually(answers, 5)
        finally:
            await client.aclose()


async def test_the_nodes_of_a_cluster_are_spoken_to_by_tls_as_the_address_says(desk: Desk) -> None:
    with tls_server(desk, *desk.issue("good"), cluster_enabled="yes", tls_cluster="yes") as redis:
        with redis.server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTS", *range(16_384))
            await eventually(lambda: "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO")))
        address = redis.address(ssl_ca_certs=desk.ours.certificate).replace("rediss://", "rediss+cluster://")
        await ask(address)
        untrusted = await refusal(
            address.replace(str(desk.ours.certificate), str(desk.strangers.certificate))
        )
        assert "certificate is not accepted" in str(untrusted)

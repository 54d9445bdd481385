"""What Redis denies is told apart from what passes by itself, and from what is wrong with a record."""

import pytest
from redis.exceptions import AuthenticationError, ConnectionError, NoPermissionError, RedisError  # noqa: A004

from libs.common.domain.errors import StoreBarred
from libs.common.store.client import translate, translate_text
from libs.common.store.connections import TlsRefused


def wrapped(cause: RedisError) -> RedisError:
    """Return it as redis-py passes on what comes up while it connects."""
    error = ConnectionError(str(cause))
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (AuthenticationError('user "x": invalid username-password pair'), "REDIS_URL="),
        (wrapped(AuthenticationError('user "x": invalid username-password pair')), "REDIS_URL="),
        (NoPermissionError("user \"x\": no permissions to run the 'get' command"), "redis-users.acl"),
        (TlsRefused("certificate has expired", remedy="renew it"), "renew it"),
        (wrapped(TlsRefused("certificate has expired", remedy="renew it")), "renew it"),
    ],
)
def test_what_is_denied_keeps_its_words_and_says_what_to_do(error: RedisError, remedy: str) -> None:
    barred = translate(error)
    assert isinstance(barred, StoreBarred)
    assert str(error) in str(barred)
    assert remedy in barred.remedy


@pytest.mark.parametrize(
    "text",
    [
        "ERR The user executing the script can't run this command or subcommand",
        "ERR ACL failure in script: User worker has no permissions to run the 'xack' command",
        "ERR ACL failure in script: No permissions to access a key script: 12ab, on @user_script:7.",
        "@user_script: 12: The user executing the script can't access at least one of the keys mentioned",
    ],
)
def test_what_a_script_was_denied_is_no_fault_of_a_record(text: str) -> None:
    assert isinstance(translate_text(text), StoreBarred)


def test_those_who_share_a_flight_each_get_a_copy() -> None:
    barred = StoreBarred("denied", "grant it")
    copy = type(barred)(*barred.args)
    assert (str(copy), copy.remedy) == ("denied", "grant it")

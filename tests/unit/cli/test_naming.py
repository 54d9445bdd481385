import pytest

from cli.naming import find_beginning
from cli.output import Failure
from libs.common.store.search import Found

NAMES = ["abcd1", "abcd2", "bcde1"]


async def find(name: str) -> str:
    async def newest(limit: int) -> Found[str]:
        found = [one for one in NAMES if one.startswith(name)]
        return Found(found[:limit], is_cut=False)

    return await find_beginning(name, newest, lambda one: f"{one}!", kind="thing", missing="no such thing")


async def test_the_one_that_a_beginning_fits_is_found() -> None:
    assert await find("bcde") == "bcde1"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bcd", '"bcd" is too short to name one thing: give at least 4 characters'),
        ("abcd", "abcd names several things, give the id of one: abcd1!, abcd2!"),
        ("wxyz", "no such thing"),
    ],
)
async def test_what_names_none_or_several_is_told(name: str, words: str) -> None:
    with pytest.raises(Failure) as told:
        await find(name)
    assert told.value.message == words

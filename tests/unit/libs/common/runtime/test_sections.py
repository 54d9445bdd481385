"""The walk by itself; what the whole configuration says is in test_load_settings."""

from collections.abc import Mapping
from typing import Any

import pytest

from libs.common.runtime.durations import DurationMs, Rate
from libs.common.runtime.sections import Misfit, Section, WrongValue, read_section


class Circle(Section, frozen=True, kw_only=True, tag_field="shape", tag="circle"):
    radius: int


class Square(Section, frozen=True, kw_only=True, tag_field="shape", tag="square"):
    side: int
    tilt: int = 0

    def __post_init__(self) -> None:
        if self.tilt >= self.side:
            raise WrongValue("tilt", "less than `side`")


class Drawing(Section, frozen=True, kw_only=True):
    shapes: Mapping[str, Circle | Square] = {}
    points: tuple[int, ...] = ()
    rate: Rate = Rate.OFF
    title: str | None = "untitled"
    time: DurationMs = DurationMs(1)


def test_what_is_left_out_has_its_default() -> None:
    assert read_section(Drawing, {}) == Drawing()


def test_every_kind_of_value_is_read() -> None:
    found = read_section(
        Drawing,
        {
            "shapes": {"a": {"shape": "circle", "radius": 3}, "b": {"shape": "square", "side": 2}},
            "points": [1, 2],
            "rate": "off",
            "title": None,
            "time": "2s",
        },
    )
    assert found == Drawing(
        shapes={"a": Circle(radius=3), "b": Square(side=2)},
        points=(1, 2),
        title=None,
        time=DurationMs(2_000),
    )


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ({"shapes": {"a": {"shape": "circle"}}}, "shapes.a.radius: this key is required"),
        ({"shapes": {"a": {"shape": "star"}}}, 'shapes.a.shape: got "star", expected circle or square'),
        ({"shapes": {"a": {}}}, "shapes.a.shape: this key is required, expected circle or square"),
        ({"shapes": {"a": None}}, "shapes.a: got nothing, expected a section with keys"),
        ({"shapes": []}, "shapes: got a list, expected a section with keys"),
        ({"points": [1, "x"]}, 'points.1: got "x", expected a whole number'),
        ({"points": {}}, "points: got a section, expected a list"),
        ({"rate": None}, "rate: got nothing, expected a rate such as 5/s"),
        ({"time": "2"}, 'time: got "2", expected a duration such as 500ms'),
        ({"titel": "x"}, "titel: there is no such key; did you mean title?"),
        ({"x" * 80: 1}, f"{'x' * 80}: there is no such key; there are shapes, points, rate, title, time"),
        ({"points": ["x" * 80]}, f'points.0: got "{"x" * 59}..., expected a whole number'),
    ],
)
def test_what_does_not_fit_is_named_by_its_key(document: dict[str, Any], line: str) -> None:
    with pytest.raises(Misfit) as caught:
        read_section(Drawing, document)
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize(
    ("square", "line"),
    [
        ({"side": 3, "tilt": 3}, "shapes.a.tilt: got 3, expected less than `side`"),
        ({"side": 0}, "shapes.a.tilt: expected less than `side`"),
    ],
)
def test_a_section_may_check_itself(square: dict[str, Any], line: str) -> None:
    with pytest.raises(Misfit) as caught:
        read_section(Drawing, {"shapes": {"a": {"shape": "square"} | square}})
    assert str(caught.value) == line

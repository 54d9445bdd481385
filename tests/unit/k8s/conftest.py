"""Everything under k8s/ that is rendered: the overlays, and components together."""

import functools
from itertools import combinations

import pytest

from tests.support.k8s_objects import Bundle
from tests.support.kustomize import K8S, find_kustomize, render, render_together
from tests.support.tools import missing_tool

OVERLAYS = ("dev", "production")
REDIS = ("redis-users", "redis-sentinel", "external-redis")
"""Components that say what Redis is; one at most."""
OTHERS = ("hpa", "keda", "monitoring", "ingress-tls", "gateway-api", "network-policies")


def together(*components: str) -> tuple[str, ...]:
    """Return components in the order that they are to be applied in."""
    order = ("redis-users", "redis-sentinel", *OTHERS, "external-redis")
    return tuple(sorted(components, key=order.index))


NONE_ON: tuple[str, ...] = ()
EACH = {together(one) for one in (*OTHERS, *REDIS)}
ALL_ON = {together(*OTHERS, *redis) for redis in (NONE_ON, *((one,) for one in REDIS))}
ALL_BUT_ONE = {together(*(one for one in OTHERS if one != left), REDIS[0]) for left in OTHERS}
COMBINATIONS = sorted({NONE_ON, *EACH, *ALL_ON, *ALL_BUT_ONE})
EVERY_COMBINATION = sorted(
    {
        together(*others, *redis)
        for count in range(len(OTHERS) + 1)
        for others in combinations(OTHERS, count)
        for redis in (NONE_ON, *((one,) for one in REDIS))
    }
)


@functools.cache
def overlay(name: str) -> Bundle:
    return Bundle(f"overlays/{name}", render(K8S / "overlays" / name))


@functools.cache
def combination(components: tuple[str, ...]) -> Bundle:
    return Bundle("+".join(("base", *components)), render_together(components))


def name_of(components: tuple[str, ...]) -> str:
    return "+".join(components) or "base"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    cases: list[str | tuple[str, ...]] = [*OVERLAYS, *COMBINATIONS]
    if "guarded" in metafunc.fixturenames:
        name = "guarded"
        cases = ["production", *(one for one in COMBINATIONS if "network-policies" in one)]
    elif "bundle" in metafunc.fixturenames:
        name = "bundle"
    else:
        return
    ids = [one if isinstance(one, str) else name_of(one) for one in cases]
    metafunc.parametrize(name, cases, ids=ids, indirect=True)


@pytest.fixture(autouse=True, scope="session")
def _can_render() -> None:
    if find_kustomize() is None:
        missing_tool("kubectl 1.27 or newer, or Go (make kustomize)", "everything about k8s/")


@pytest.fixture
def bundle(request: pytest.FixtureRequest) -> Bundle:
    """One of all overlays and of many combinations of components."""
    return _bundle(request.param)


@pytest.fixture
def guarded(request: pytest.FixtureRequest) -> Bundle:
    """One of those with network policies."""
    return _bundle(request.param)


def _bundle(wanted: str | tuple[str, ...]) -> Bundle:
    return overlay(wanted) if isinstance(wanted, str) else combination(wanted)

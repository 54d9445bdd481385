"""Each test of a bundle runs on all overlays and many combinations of components."""

from pathlib import Path

import pytest

from libs.common.runtime.load_settings import load_settings
from libs.common.runtime.settings import Settings
from tests.support.k8s_bundles import COMBINATIONS, OVERLAYS, combination, name_of, overlay
from tests.support.k8s_objects import Bundle
from tests.support.kustomize import find_kustomize
from tests.support.tools import missing_tool


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


@pytest.fixture
def settings(bundle: Bundle, tmp_path: Path) -> Settings:
    """The configuration that the pods are given, read as they read it."""
    path = tmp_path / "bascule.yaml"
    path.write_text(bundle.config("bascule-config")["bascule.yaml"])
    return load_settings(path)

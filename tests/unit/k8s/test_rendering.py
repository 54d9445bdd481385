"""What k8s/ renders to, held against the schemas of Kubernetes."""

import json
import re
import subprocess
import textwrap
import tomllib

import pytest
import yaml

from tests.support.k8s_bundles import (
    COMBINATIONS,
    EVERY_COMBINATION,
    ORDER,
    OVERLAYS,
    combination,
    overlay,
)
from tests.support.k8s_objects import (
    CLUSTER_WIDE,
    CORE_GROUPS,
    Bundle,
    Peer,
    Policies,
    containers_of,
    group_of,
    labels_of,
)
from tests.support.kustomize import K8S, Object, render_together
from tests.support.tools import missing_tool
from tests.support.tree import ROOT
from tools.prometheus_rule import WRAPPED, wrapped

VERSIONS = ("1.30", "1.37")
"""The oldest minor that has all that is used, the native sleep of preStop the latest, and the newest with schemas."""


def test_all_overlays_and_components_fit_the_oldest_and_the_newest_kubernetes() -> None:
    bundles = [*map(overlay, OVERLAYS), *map(combination, COMBINATIONS)]
    _fits(bundles, VERSIONS)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_every_combination_of_components_fits_every_kubernetes_in_between() -> None:
    bundles = [combination(components) for components in EVERY_COMBINATION]
    _fits(bundles, tuple(f"1.{minor}" for minor in range(30, 38)))


def test_an_object_that_does_not_fit_is_told() -> None:
    wrong = overlay("dev").workloads["worker"] | {"spec": {"replicas": "two"}}
    with pytest.raises(AssertionError, match="worker"):
        _fits([Bundle("wrong", [wrong])], VERSIONS)


def _fits(bundles: list[Bundle], versions: tuple[str, ...]) -> None:
    python = ROOT / ".venv" / "k8s" / "bin" / "python"
    if not python.exists():
        missing_tool("kubernetes-validate (make .venv/.stamp-k8s)", "the schemas of k8s/")
    # Most are the same in many bundles.
    different: dict[str, Object] = {}
    for bundle in bundles:
        for one in bundle.objects:
            different[json.dumps(one, sort_keys=True)] = one
    asked = {"versions": versions, "objects": list(different.values())}
    done = subprocess.run(
        [python, ROOT / "tests" / "support" / "k8s_schemas.py"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_no_component_is_forgotten() -> None:
    there = {path.name for path in (K8S / "components").iterdir()}
    used = {component for components in COMBINATIONS for component in components}
    assert there - used == {"redis-addresses"}, "a part of three others"
    assert sorted(ORDER) == sorted(used), "the overlay for production names each once"


@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_base_and_overlays_need_nothing_that_a_bare_cluster_lacks(name: str) -> None:
    bundle = combination(()) if name == "base" else overlay(name)
    assert {group_of(one) for one in bundle.objects} <= CORE_GROUPS


def test_a_relay_may_stand_where_no_bridge_is_with_the_patches_that_the_document_names() -> None:
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    [block] = re.findall(r"      patches:\n(?: {8}.*\n)+", text)
    patches = yaml.safe_load(textwrap.dedent(block))["patches"]
    alone = Bundle("relay", render_together(("relay", "network-policies"), base=(), patches=patches))
    relay = Peer(labels=labels_of(alone.workloads["relay"]))
    bridge = Peer(address="93.184.216.34")

    assert set(alone.workloads) == {"relay"}
    assert alone.environment("relay")["RELAY_UPSTREAM"] == "https://bridge.example.com/webhook"
    assert Policies(alone).lets(relay, bridge, 443, {})
    _fits([alone], VERSIONS)


def test_no_secret_is_rendered(bundle: Bundle) -> None:
    assert bundle.of("Secret") == []


def test_everything_is_in_one_namespace(bundle: Bundle) -> None:
    spaces = {one["metadata"].get("namespace") for one in bundle.objects if one["kind"] not in CLUSTER_WIDE}
    assert spaces == {"bascule"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_namespace_admits_only_what_is_restricted(name: str) -> None:
    (space,) = overlay(name).of("Namespace")
    assert space["metadata"]["name"] == "bascule"
    assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_images_are_named_in_one_place_by_an_exact_version(bundle: Bundle) -> None:
    named = yaml.safe_load((K8S / "images" / "kustomization.yaml").read_text())["images"]
    known = {f"{one['newName']}:{one['newTag']}" for one in named}
    for name, workload in bundle.workloads.items():
        for container in containers_of(workload):
            assert container["image"] in known, name
            tag = container["image"].rpartition(":")[2]
            assert tag[0].isdigit(), f"{name}: {container['image']} is no exact version"


def test_images_are_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    named = yaml.safe_load((K8S / "images" / "kustomization.yaml").read_text())["images"]
    assert {one["newTag"] for one in named if one["name"].startswith("bascule-")} == {version}


def test_documents_name_the_images_that_are_used() -> None:
    named = yaml.safe_load((K8S / "images" / "kustomization.yaml").read_text())["images"]
    tags = {one["name"]: one["newTag"] for one in named}
    for name in ("kubernetes.md", "single-server.md", "runbook.md"):
        text = (ROOT / "docs" / name).read_text()
        assert set(re.findall(r"redis:(\d+\.\d+\.\d+-\w+)", text)) <= {tags["redis"]}, name
        assert set(re.findall(r"bascule-\$image:([\d.]+)", text)) <= {tags["bascule-worker"]}, name
        assert set(re.findall(r"Redis (\d+\.\d+\.\d+) at", text)) <= {tags["redis"].split("-")[0]}, name


def test_the_collector_is_the_one_that_the_tests_run() -> None:
    manifest = yaml.safe_load((ROOT / "tests" / "support" / "collector" / "manifest.yaml").read_text())
    named = yaml.safe_load((K8S / "images" / "kustomization.yaml").read_text())["images"]
    (collector,) = [one for one in named if one["name"] == "otel-collector"]
    assert collector["newTag"] == manifest["dist"]["version"]


def test_spans_are_read_in_the_log_of_the_collector_of_dev() -> None:
    dev = overlay("dev")
    assert dev.environment("collector")["COLLECTOR_VERBOSITY"] == "detailed"
    assert "${env:COLLECTOR_VERBOSITY:-" in dev.config("collector-config")["collector.yaml"]


def test_the_rules_of_the_operator_are_the_rules() -> None:
    assert WRAPPED.read_text() == wrapped(), "make rules"

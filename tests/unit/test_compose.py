"""What compose.yaml says, held against the images, the configuration and the files that it names."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.common.runtime.load_settings import load_settings
from services.ingress.__main__ import DRAIN_S
from tests.images.dockerfile import ROOT, environment, read_dockerfile

_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?+])((?:[^{}]|\{[^{}]*\})*))?\}")
SETTINGS = load_settings(ROOT / "config" / "container.yaml")
OWN = ("ingress", "worker", "reaper")


def filled_in(value: Any, variables: dict[str, str]) -> Any:
    """Return a part of the file with its variables replaced, as Compose does."""
    if isinstance(value, dict):
        return {key: filled_in(one, variables) for key, one in value.items()}
    if isinstance(value, list):
        return [filled_in(one, variables) for one in value]
    if not isinstance(value, str):
        return value

    def put_in(match: re.Match[str]) -> str:
        given = variables.get(match[1], "")
        if match[2] == "+":
            return str(filled_in(match[3], variables)) if given else ""
        if match[2] == "?" and not given:
            raise KeyError(f"{match[1]}: {match[3]}")
        return given or match[3] or ""

    return _VARIABLE.sub(put_in, value)


RAW = yaml.safe_load((ROOT / "compose.yaml").read_text())
COMPOSE = filled_in(RAW, {"BASCULE_DOMAIN": "hooks.example.com"})
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_a_domain_is_asked_for_before_anything_starts() -> None:
    with pytest.raises(KeyError, match="BASCULE_DOMAIN"):
        filled_in(RAW, {})


def test_the_example_of_an_env_file_names_what_the_file_reads_and_nothing_else() -> None:
    example = (ROOT / ".env.example").read_text()
    named = set(re.findall(r"^#?(\w+)=", example, re.MULTILINE))
    read = {match[1] for match in _VARIABLE.finditer((ROOT / "compose.yaml").read_text())}
    assert named == read


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_bounded_and_without_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["deploy"]["resources"]["limits"].keys() == {"memory", "pids"}
    assert service["restart"] == ("no" if name == "bascule" else "unless-stopped")
    assert service.get("privileged") is None
    if name != "caddy":
        assert service["user"].split(":")[0] not in {"", "0", "root"}
        assert "cap_add" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_named_by_exact_versions(name: str) -> None:
    tag = SERVICES[name]["image"].rpartition(":")[2]
    assert re.match(r"v?\d+\.\d+\.\d+", tag)


def test_images_are_of_this_version_and_the_same_as_on_a_cluster() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name in (*OWN, "bascule"):
        assert SERVICES[name]["image"].startswith("bascule-")
        assert SERVICES[name]["image"].endswith(f":{version}")
    images = yaml.safe_load((ROOT / "k8s" / "images" / "kustomization.yaml").read_text())["images"]
    elsewhere = {f"{one['newName']}:{one['newTag']}" for one in images}
    for name in ("redis", "collector"):
        assert SERVICES[name]["image"] in elsewhere


def test_images_come_from_the_registry_that_is_set() -> None:
    filled = filled_in(RAW, {"BASCULE_DOMAIN": "x", "REGISTRY": "registry.example.com/you"})
    assert filled["services"]["worker"]["image"].startswith("registry.example.com/you/bascule-worker:")


def test_caddy_alone_is_reached_from_outside() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert name == "caddy" or port.startswith("127.0.0.1:"), f"{name}: {port}"
    assert SERVICES["caddy"]["ports"] == ["80:80", "443:443"]


def test_redis_and_the_ingress_cannot_reach_the_internet() -> None:
    internal = {name for name, network in COMPOSE["networks"].items() if (network or {}).get("internal")}
    for name in ("redis", "ingress"):
        assert set(SERVICES[name]["networks"]) <= internal
    assert not set(SERVICES["worker"]["networks"]) <= internal


def test_whoever_comes_into_caddy_comes_no_nearer_to_redis() -> None:
    assert "back" not in SERVICES["caddy"]["networks"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_says_how_it_is_or_why_it_cannot(name: str) -> None:
    own = environment(read_dockerfile(), name) if name in OWN else {}
    # Those of our images have their health check from there; the collector's image holds nothing that could ask.
    assert "healthcheck" in SERVICES[name] or "BASCULE_OPS_PORT" in own or name == "collector"


@pytest.mark.parametrize("name", SERVICES)
def test_up_can_wait_for_every_service(name: str) -> None:
    # It takes a service without a health check as it runs, and fails on one that is disabled.
    is_disabled = SERVICES[name].get("healthcheck", {}).get("disable", False)
    assert not is_disabled or "profiles" in SERVICES[name]


def test_secrets_are_the_files_that_are_made_for_it(tmp_path: Path) -> None:
    place = tmp_path / "secrets"
    subprocess.run([ROOT / "tools" / "make-secrets", place], check=True, capture_output=True)
    filled = filled_in(RAW, {"BASCULE_DOMAIN": "x", "BASCULE_SECRETS": str(place)})
    used = set()
    for service in filled["services"].values():
        for secret in service.get("secrets", []):
            used.add(secret if isinstance(secret, str) else secret["source"])
    assert used == set(filled["secrets"])
    for secret in filled["secrets"].values():
        assert Path(secret["file"]).read_text()
    assert "password" not in str(RAW["x-variables"]).lower()


@pytest.mark.parametrize("name", OWN)
def test_services_find_their_secrets_as_files(name: str) -> None:
    variables = SERVICES[name]["environment"]
    targets = {
        f"/run/secrets/{one if isinstance(one, str) else one['target']}" for one in SERVICES[name]["secrets"]
    }
    named = {value for key, value in variables.items() if key.endswith("_FILE")}
    assert named == targets
    assert {secret["source"] for secret in SERVICES[name]["secrets"] if not isinstance(secret, str)} == {
        f"redis_url_{name}"
    }


def test_commands_find_what_the_services_show() -> None:
    named = SERVICES["bascule"]["environment"]["BASCULE_OPS_URLS"].split()
    dockerfile = read_dockerfile()
    assert named == [f"http://{name}:{environment(dockerfile, name)['BASCULE_OPS_PORT']}" for name in OWN]
    for name in OWN:
        assert set(SERVICES[name]["networks"]) & set(SERVICES["bascule"]["networks"])


@pytest.mark.parametrize("name", SERVICES)
def test_files_that_are_mounted_are_there_and_cannot_be_written(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source, mode = volume.split(":")[0], volume.split(":")[-1]
        if source.startswith("."):
            assert (ROOT / source).exists(), source
            assert mode == "ro"
        else:
            assert source in COMPOSE["volumes"]


def test_services_get_longer_than_they_take_to_drain() -> None:
    assert int(SERVICES["worker"]["stop_grace_period"].rstrip("s")) > SETTINGS.worker.drain_ms / 1_000 + 10
    assert int(SERVICES["ingress"]["stop_grace_period"].rstrip("s")) > DRAIN_S + 2


def test_the_limits_of_memory_add_up_to_what_the_document_asks_for() -> None:
    limits = {name: service["deploy"] for name, service in SERVICES.items() if name != "bascule"}
    total_mb = sum(
        int(one["resources"]["limits"]["memory"].upper().rstrip("M")) * one.get("replicas", 1)
        for one in limits.values()
    )
    (asked_gb,) = re.findall(r"(\d+) GB of\s+memory", (ROOT / "docs" / "single-server.md").read_text())
    assert round(total_mb / 1_024) == int(asked_gb)


def test_redis_has_memory_to_spare() -> None:
    command = SERVICES["redis"]["command"]
    assert command[command.index("--maxmemory") + 1] == "1gb"
    assert SERVICES["redis"]["deploy"]["resources"]["limits"]["memory"] == "1536m"


def test_caddy_leads_to_the_port_of_the_configuration() -> None:
    assert SERVICES["caddy"]["environment"]["BASCULE_INGRESS"] == f"ingress:{SETTINGS.ingress.port}"


def test_prometheus_finds_every_service_at_its_ops_port() -> None:
    config = yaml.safe_load((ROOT / "monitoring" / "prometheus" / "compose.yaml").read_text())
    found = {}
    for job in config["scrape_configs"]:
        (discovery,) = job["dns_sd_configs"]
        found[job["job_name"]] = (discovery["names"], discovery["port"])
    assert found == {f"bascule-{name}": ([name], getattr(SETTINGS, name).ops_port) for name in OWN}
    for name in OWN:
        assert getattr(SETTINGS, name).ops_host == "0.0.0.0"
        assert "back" in SERVICES[name]["networks"]
    assert "back" in SERVICES["prometheus"]["networks"]

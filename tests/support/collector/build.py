"""Where the collector of the tests comes from: `python -m tests.support.collector.build` builds it where none is there.

Any `otelcol` or `otelcol-contrib` on the PATH will do that is no older than the manifest and takes the configurations
of monitoring/collector/. Otherwise one is built from the manifest, once for each text of it. The builder's version is
the manifest's. Go is the machine's, or where it has none that is new enough, that of requirements/go.txt.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import yaml

from tests.support.tree import ROOT

HERE: Final = Path(__file__).parent
MANIFEST: Final = HERE / "manifest.yaml"
OVERLAY: Final = HERE / "file.yaml"
"""Has a collector of the tests write to a file, on ports of the test's own."""
BUILT: Final = ROOT / ".venv" / "collector"
CONFIGURATIONS: Final = sorted((ROOT / "monitoring" / "collector").glob("*.yaml"))
"""All that we ship."""
GATEWAY: Final = ROOT / "monitoring" / "collector" / "collector.yaml"
PRODUCTION: Final = ROOT / "monitoring" / "collector" / "production.yaml"

NAMES: Final = ("otelcol", "otelcol-contrib")
BUILDER: Final = "go.opentelemetry.io/collector/cmd/builder"
OLDEST_GO: Final = (1, 26)
"""That the parts of the manifest are written in."""

SETTINGS: Final = {
    "EXPORT_ENDPOINT": "http://127.0.0.1:4318",
    **{f"TEST_{name}_PORT": "4318" for name in ("HEALTH", "HTTP", "GRPC")},
    "TEST_OUTPUT": "spans.json",
}
"""Variables without which the configurations are not whole."""


def find_collector() -> Path | None:
    """Return the collector to test with; None where none is there yet."""
    for name in NAMES:
        path = shutil.which(name)
        if path is not None and _version([path, "--version"]) >= _wanted() and _takes_all(path):
            return Path(path)
    return _built() if _built().exists() else None


def build() -> Path:
    """Build the collector of the manifest and return where it is. Takes a minute or two."""
    manifest = yaml.safe_load(MANIFEST.read_text())
    go = _find_go()
    BUILT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILT, prefix="sources-") as directory:
        sources = Path(directory)
        manifest["dist"]["output_path"] = str(sources)
        located = sources / MANIFEST.name
        located.write_text(yaml.safe_dump(manifest))
        # The builder calls `go` itself, by its name.
        environment = {
            **os.environ,
            "PATH": f"{Path(go).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "CGO_ENABLED": "0",
            "GOWORK": "off",
        }
        version = f"v{manifest['dist']['version']}"
        subprocess.run(
            [go, "run", f"{BUILDER}@{version}", "--config", str(located)],
            env=environment,
            cwd=sources,
            check=True,
            stdout=sys.stderr,
        )
        (sources / manifest["dist"]["name"]).replace(_built())
    for other in BUILT.glob("otelcol-*"):
        if other != _built():
            other.unlink()
    return _built()


def validate(collector: Path | str, *configurations: Path) -> subprocess.CompletedProcess[str]:
    """Have a collector check configurations, laid one on another."""
    named = [f"--config={path}" for path in configurations]
    return subprocess.run(
        [collector, "validate", *named], env={**os.environ, **SETTINGS}, capture_output=True, text=True
    )


def _built() -> Path:
    return BUILT / f"otelcol-{hashlib.sha256(MANIFEST.read_bytes()).hexdigest()[:16]}"


def _wanted() -> tuple[int, ...]:
    return _numbers(yaml.safe_load(MANIFEST.read_text())["dist"]["version"])


def _takes_all(collector: str) -> bool:
    each = [(path,) for path in CONFIGURATIONS]
    return all(validate(collector, *paths).returncode == 0 for paths in (*each, (GATEWAY, OVERLAY)))


def _find_go() -> str:
    """Return a Go that is new enough."""
    go = shutil.which("go")
    if go is not None and _version([go, "version"]) >= OLDEST_GO:
        return go
    subprocess.run(["make", "--no-print-directory", ".venv/.stamp-go"], cwd=ROOT, check=True)
    return str(ROOT / ".venv" / "go" / "bin" / "go")


def _version(command: list[str]) -> tuple[int, ...]:
    """Return the version that a program says it is; () where it says none."""
    return _numbers(subprocess.run(command, capture_output=True, text=True).stdout)


def _numbers(text: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return () if found is None else tuple(int(number) for number in found.groups("0"))


if __name__ == "__main__":
    print(find_collector() or build())

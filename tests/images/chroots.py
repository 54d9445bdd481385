"""Makes images without a container engine: the steps of the Dockerfile in chroots, on layers of an overlay."""

import functools
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final, Self

from tests.images.dockerfile import ROOT, Stage, Step, chain, environment, last
from tests.support.children import spawn
from tests.support.eventually import eventually_sync

USER: Final = 10001

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""As in the official images; whatever else the machine has on its own is not seen."""

_PASSED_ON: Final = (
    "PIP_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_",
)
"""How the machine reaches its package index, which is none of the Dockerfile's business."""


@functools.cache
def cannot() -> str | None:
    """Return why no chroot can be made here; None where it can."""
    if os.geteuid() != 0:
        return "not root"
    for tool in ("unshare", "nsenter", "chroot", "setpriv", "mount"):
        if shutil.which(tool) is None:
            return f"no {tool}"
    trial = "d=$(mktemp -d) && mount -t tmpfs t $d && mkdir $d/u $d/w $d/m && mount -t overlay o -o lowerdir=/,upperdir=$d/u,workdir=$d/w $d/m"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", trial], capture_output=True, text=True, timeout=30, check=False
    )
    return None if done.returncode == 0 else f"no overlay: {done.stderr.strip()}"


def debootstrap(directory: Path) -> Path:
    """Return a fresh Debian 12 with its Python, in place of the official image on the same Debian."""
    subprocess.run(
        [
            "debootstrap",
            "--variant=minbase",
            "--include=python3,python3-venv,ca-certificates",
            "bookworm",
            os.fspath(directory),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=900,
    )
    return directory


class Workshop:
    """Makes stages once each, as layers in a mount namespace of its own that vanishes with it.

    Args:
        stages: Of the Dockerfile.
        directory: An empty one that users may walk: layers lie below it, in memory, for those in the namespace.
        base: The tree in place of the base image; `/` is this machine's own.
    """

    def __init__(self, stages: Mapping[str, Stage], directory: Path, base: Path) -> None:
        self.stages, self.directory, self.base = stages, directory, base
        self._made: set[str] = set()
        self._containers = 0
        directory.mkdir()
        # In memory, since layers of an overlay must not lie within one another, and `/` may be one.
        script = f"mount -t tmpfs -o size=2g,mode=755 tmpfs {directory} && mkdir {directory}/root && exec sleep infinity"
        self._holder = spawn(["unshare", "--mount", "sh", "-ec", script])
        eventually_sync((self._outside(directory) / "root").is_dir, 10, message="a namespace with its layers")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.kill()
        self._holder.wait()

    def make(self, target: str) -> None:
        """Make a stage and what it stands on or copies from.

        Raises:
            AssertionError: A step failed; carries what it said.
        """
        for stage in chain(self.stages, target):
            if stage.name not in self._made:
                self._layer(stage.name).mkdir(parents=True)
                self._layer(stage.name).chmod(0o755)
                self._work(stage)
                self._made.add(stage.name)

    def run(
        self,
        target: str,
        command: Sequence[str],
        *,
        mounted: Mapping[str, Path],
        variables: Mapping[str, str],
        output: IO[bytes] | int,
    ) -> subprocess.Popen[bytes]:
        """Start a command in a container of a finished image: as its user, without rights, on a root that is read-only.

        Args:
            target: The image.
            command: What to start.
            mounted: Files and directories to show at these paths, read-only.
            variables: Added to those of the image.
            output: Where both outputs go.
        """
        self._containers += 1
        where = self.directory / f"container-{self._containers}"
        root, points = where / "root", where / "points"
        self._outside(root).mkdir(parents=True)
        for inside, path in mounted.items():
            point = self._outside(points) / inside.lstrip("/")
            point.parent.mkdir(parents=True, exist_ok=True)
            point.mkdir() if path.is_dir() else point.touch()
        entered = f'cd {self._directory(target)} && exec "$@"'
        inner = shlex.join(["sh", "-c", entered, "sh", *command])
        # Without an upper layer an overlay is read-only.
        script = [
            f"mount -t overlay overlay -o lowerdir={points}:{self._lower(target)} {root}",
            f"mount --rbind /dev {root}/dev",
            f"mount -t proc proc {root}/proc",
            f"mount -t tmpfs -o mode=1777 tmpfs {root}/tmp",
            *(f"mount --bind -o ro {path} {root}/{inside.lstrip('/')}" for inside, path in mounted.items()),
            f"exec setpriv --no-new-privs --inh-caps=-all chroot --userspec={self._user(target)} --groups= {root} {inner}",
        ]
        return spawn(
            self._enter(script),
            stdout=output,
            stderr=subprocess.STDOUT,
            environment={"PATH": PATH, **environment(self.stages, target), **variables},
        )

    def call(
        self,
        target: str,
        command: Sequence[str],
        *,
        mounted: Mapping[str, Path],
        variables: Mapping[str, str],
    ) -> tuple[int, str]:
        """Run a command to its end like `run`; return its exit code and what it said."""
        process = self.run(target, command, mounted=mounted, variables=variables, output=subprocess.PIPE)
        said, _ = process.communicate(timeout=60)
        return process.returncode, said.decode()

    def tree(self, target: str) -> list[Path]:
        """Return the layers that hold what an image adds to its base, the top one first."""
        return [self._layer(stage.name) for stage in reversed(chain(self.stages, target))]

    def _work(self, stage: Stage) -> None:
        variables: dict[str, str] = {}
        for below in chain(self.stages, stage.name)[:-1]:
            variables |= environment({below.name: below}, below.name)
        directory = self._directory(stage.base) if stage.base in self.stages else "/"
        for step in stage.steps:
            match step.word:
                case "ENV":
                    variables |= step.pairs
                case "WORKDIR":
                    directory = step.rest
                    (self._layer(stage.name) / directory.lstrip("/")).mkdir(parents=True, exist_ok=True)
                case "COPY":
                    self._copy(stage, step, directory)
                case "RUN":
                    self._run(stage, step.rest, directory, variables)

    def _run(self, stage: Stage, command: str, directory: str, variables: Mapping[str, str]) -> None:
        root, work = self.directory / "root", self.directory / "work" / stage.name
        self._outside(work).mkdir(parents=True, exist_ok=True)
        layers = f"lowerdir={self._lower(stage.name, own=False)},upperdir={self._inside(stage.name)},workdir={work}"
        shown = ["/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs"] if self.base != Path("/") else []
        script = [
            f"mount -t overlay overlay -o {layers} {root}",
            f"mount --rbind /dev {root}/dev",
            f"mount -t proc proc {root}/proc",
            f"mount -t tmpfs tmpfs {root}/tmp",
            *(
                f"[ -e {path} ] && touch {root}{path} 2>/dev/null || mkdir -p {root}{path}; mount --rbind {path} {root}{path}"
                for path in shown
            ),
            f"exec chroot {root} sh -ec {shlex.quote(f'cd {directory}; {command}')}",
        ]
        passed_on = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
        done = subprocess.run(
            self._enter(script),
            env={"PATH": PATH, **passed_on, **variables},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, f"RUN {command}\n{done.stdout}{done.stderr}"

    def _copy(self, stage: Stage, step: Step, directory: str) -> None:
        words = step.rest.split()
        flags = [word for word in words if word.startswith("--")]
        *sources, target = [word for word in words if not word.startswith("--")]
        if flags:
            (origin,) = (flag.removeprefix("--from=") for flag in flags)
            self.make(origin)
            (source,) = sources
            self._take(origin, source, self._inside(stage.name) / target.lstrip("/"))
            return
        inside = os.path.normpath(f"{directory}/{target}")
        destination = self._layer(stage.name) / inside.lstrip("/")
        for source in sources:
            path = ROOT / source
            if path.is_dir():
                shutil.copytree(path, destination, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                destination.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, destination / path.name)

    def _take(self, origin: str, source: str, destination: Path) -> None:
        root = self.directory / "root"
        script = [
            f"mount -t overlay overlay -o lowerdir={self._lower(origin)} {root}",
            f"mkdir -p {destination}",
            f"cp -a {root}{source}/. {destination}",
        ]
        subprocess.run(self._enter(script), check=True, timeout=300)

    def _enter(self, script: Sequence[str]) -> list[str]:
        # Each in a namespace below the holder's, so that its mounts end with it.
        entered = ["nsenter", f"--target={self._holder.pid}", "--mount", "unshare", "--mount"]
        return [*entered, "sh", "-ec", "\n".join(script)]

    def _outside(self, path: Path) -> Path:
        """Return where a path of the namespace is for us."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    def _inside(self, name: str) -> Path:
        return self.directory / "layers" / name

    def _layer(self, name: str) -> Path:
        return self._outside(self._inside(name))

    def _lower(self, target: str, *, own: bool = True) -> str:
        names = [stage.name for stage in reversed(chain(self.stages, target))]
        return ":".join(
            map(str, [*(self._inside(name) for name in (names if own else names[1:])), self.base])
        )

    def _user(self, target: str) -> str:
        return last(self.stages, target, "USER").rest

    def _directory(self, target: str) -> str:
        found = [
            step.rest
            for stage in chain(self.stages, target)
            for step in stage.steps
            if step.word == "WORKDIR"
        ]
        return found[-1] if found else "/"

"""Copies of the checkout to build from, what is built of them, and a host to install it on."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[3]
BUILD_TIMEOUT_S = 300.0
HOST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOTHING: Mapping[str, str] = MappingProxyType({})
COMMIT_EPOCH = "1763856000"

Build = Callable[..., str]


def run(
    *command: object, cwd: Path, timeout_s: float = BUILD_TIMEOUT_S, environment: Mapping[str, str] = NOTHING
) -> str:
    """Run a command to its good end and return what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout[-6000:]}"
    return done.stdout


@pytest.fixture(scope="session", name="run")
def give_run() -> Callable[..., str]:
    """Give the function that runs a command to its good end."""
    return run


@pytest.fixture(scope="session")
def version() -> str:
    """Give the version that is built."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give a function that copies what is under version control, or would be, to a folder of the given name."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)

    def copy(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name) / name
        for path in filter(None, listed.split("\0")):
            if (ROOT / path).is_file():  # removed, and not committed yet
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / path, folder / path)
        return folder

    return copy


@pytest.fixture(scope="session")
def build() -> Build:
    """Give a function that runs one of the build's scripts in a copy and returns what it printed."""

    def start(folder: Path, script: str, output: Path, **extra: str) -> str:
        settings = {"PYTHON": sys.executable, "SOURCE_DATE_EPOCH": COMMIT_EPOCH, **extra}
        return run("sh", script, output, cwd=folder, environment=settings)

    return start


def blocks_of(page: str, kind: str = "") -> list[str]:
    """Give the blocks of a page that are marked to be run, by `<!-- run -->` or `<!-- run: KIND -->` before them."""
    mark = f"<!-- run: {kind} -->" if kind else "<!-- run -->"
    found = re.findall(rf"^{mark}\n```[a-z]*\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    assert found, f"{page} has nothing that is marked {mark}"
    return [str(block) for block in found]


@pytest.fixture(scope="session", name="blocks_of")
def give_blocks() -> Callable[..., list[str]]:
    """Give the function that finds what is to be run."""
    return blocks_of


@pytest.fixture(scope="session")
def commands_of() -> Callable[..., list[str]]:
    """Give a function that lists the single commands of a page, as a reader types them."""
    return lambda page: "".join(blocks_of(page)).replace("\\\n", " ").splitlines()


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host of one's own: this machine's files, changes to which are gone with it, and an empty network."""

    files: Path
    changes: Path

    def run(
        self,
        script: str,
        *,
        timeout_s: float = BUILD_TIMEOUT_S,
        environment: Mapping[str, str] = NOTHING,
        shares_network: bool = False,
    ) -> str:
        """Run a script as root on the host, by a shell that stops at the first failure."""
        inner = " ".join(shlex.quote(f"{name}={value}") for name, value in environment.items())
        network = () if shares_network else ("--net",)
        path = self.files / "srv" / "script"
        path.write_text(textwrap.dedent(script))
        return run(
            *("unshare", *network, "--pid", "--fork", "--mount", "chroot", self.files, "sh", "-c"),
            f"mount -t proc proc /proc && ip link set lo up && cd /srv && exec env {inner} bash -euo pipefail script",
            cwd=Path("/"),
            timeout_s=timeout_s,
            environment={"PATH": HOST_PATH, "HOME": "/srv", "DEBIAN_FRONTEND": "noninteractive"},
        )


@pytest.fixture
def make_host(do_without: Callable[[str], NoReturn]) -> Iterator[Callable[[], Host]]:
    """Give a function that makes a host whose writable layer lies in memory and goes with the test."""
    if os.geteuid() != 0:
        do_without("needs root: a host of one's own is made of mounts")
    with contextlib.ExitStack() as made:
        yield lambda: made.enter_context(_mounted_host())


@pytest.fixture
def host(make_host: Callable[[], Host]) -> Host:
    """Make one host."""
    return make_host()


@contextlib.contextmanager
def _mounted_host() -> Iterator[Host]:
    layers = Path(tempfile.mkdtemp(prefix="sev1probe-host-"))
    mounts = []
    try:
        run("mount", "-t", "tmpfs", "sev1probe-host", layers, cwd=layers)
        mounts.append(layers)
        files = layers / "files"
        for name in ("files", "upper", "work"):
            (layers / name).mkdir()
        options = f"lowerdir=/,upperdir={layers / 'upper'},workdir={layers / 'work'}"
        run("mount", "-t", "overlay", "-o", options, "sev1probe-host", files, cwd=layers)
        mounts.append(files)
        for name in ("null", "zero", "full", "random", "urandom"):
            run("cp", "-a", f"/dev/{name}", files / "dev", cwd=layers)
        (files / "usr/sbin/policy-rc.d").unlink(missing_ok=True)
        yield Host(files=files, changes=layers / "upper")
    finally:
        for mount in reversed(mounts):
            subprocess.run(["umount", "--lazy", mount], check=False)
        layers.rmdir()

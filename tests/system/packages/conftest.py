"""Copies of the checkout to build from, what is built of them, and a host to install it on."""

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[3]
BUILD_TIMEOUT_S = 300.0
COMMIT_EPOCH = "1763856000"

Build = Callable[..., str]


def run(*command: object, cwd: Path, timeout_s: float = BUILD_TIMEOUT_S, **extra: str) -> str:
    """Run a command to its good end and return what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **extra},
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
        return run("sh", script, output, cwd=folder, **settings)

    return start


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host of one's own: this machine's files, changes to which are gone with it, and an empty network."""

    files: Path

    def run(self, script: str, timeout_s: float = BUILD_TIMEOUT_S) -> str:
        """Run a script as root on the host, by a shell that stops at the first failure."""
        path = self.files / "root" / "script"
        path.write_text(textwrap.dedent(script))
        return run(
            *("unshare", "--net", "--pid", "--fork", "--mount", "chroot", self.files, "sh", "-c"),
            "mount -t proc proc /proc && ip link set lo up && cd /root && exec bash -euo pipefail script",
            cwd=Path("/"),
            timeout_s=timeout_s,
            PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            HOME="/root",
            DEBIAN_FRONTEND="noninteractive",
        )


@pytest.fixture
def host(do_without: Callable[[str], NoReturn]) -> Iterator[Host]:
    """Make a host whose writable layer lies in memory."""
    if os.geteuid() != 0:
        do_without("needs root: a host of one's own is made of mounts")
    layers = Path(tempfile.mkdtemp(prefix="sev1probe-host-"))
    mounts = []
    try:
        mounts.append(layers)
        run("mount", "-t", "tmpfs", "sev1probe-host", layers, cwd=layers)
        files = layers / "files"
        for name in ("files", "upper", "work"):
            (layers / name).mkdir()
        options = f"lowerdir=/,upperdir={layers / 'upper'},workdir={layers / 'work'}"
        run("mount", "-t", "overlay", "-o", options, "sev1probe-host", files, cwd=layers)
        mounts.append(files)
        for name in ("null", "zero", "full", "random", "urandom"):
            run("cp", "-a", f"/dev/{name}", files / "dev", cwd=layers)
        (files / "usr/sbin/policy-rc.d").unlink(missing_ok=True)
        yield Host(files=files)
    finally:
        for mount in reversed(mounts):
            subprocess.run(["umount", "--lazy", mount], check=False)
        layers.rmdir()

"""The documented ways to install the wheel, and the Containerfile's own steps, each as it stands in its file."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.system.packages.conftest import Build, Host

pytestmark = pytest.mark.packages

CONTAINERFILE = Path(__file__).resolve().parents[3] / "deploy/container/Containerfile"


# Every module is loaded, as what a library lacks is often seen no earlier.
LOAD_ALL = """
import importlib, pkgutil, probe
for module in pkgutil.walk_packages(probe.__path__, "probe."):
    if not module.name.startswith(("probe.__main__", "probe.ledger.migrations")):
        importlib.import_module(module.name)
"""


@pytest.fixture(scope="module")
def tools(run: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install uv for these tests, and give the folder of its program."""
    folder = tmp_path_factory.mktemp("tools") / "uv"
    run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    run(folder / "bin/pip", "install", "--quiet", "uv", cwd=folder)
    return folder / "bin"


def test_the_oldest_libraries_that_are_allowed_will_do(
    tools: Path, sources: Callable[[str], Path], build: "Build", run: Callable[..., str], tmp_path: Path
) -> None:
    """With each library at the lower end of its range every module loads, and commands work."""
    checkout = sources("oldest")
    build(checkout, ".ci/dist", tmp_path / "dist")
    python = tmp_path / "oldest/bin/python"
    run(tools / "uv", "venv", "--quiet", "--python", sys.executable, tmp_path / "oldest", cwd=tmp_path)
    install = (tools / "uv", "pip", "install", "--quiet", "--python", python)
    run(*install, "--resolution", "lowest-direct", "--only-binary", ":all:", "-r", "pyproject.toml", cwd=checkout)
    run(*install, "--no-deps", *(tmp_path / "dist").glob("*.whl"), cwd=tmp_path)
    run(python, "-I", "-c", LOAD_ALL, cwd=tmp_path)
    for command in ("--version", "--help", "hours", "ledger totals --help"):
        run(tmp_path / "oldest/bin/sev1probe", *command.split(), cwd=tmp_path)


def test_the_wheel_is_installed_in_every_documented_way(
    blocks_of: Callable[..., list[str]],
    sources: Callable[[str], Path],
    require_program: Callable[[str], str],
    tools: Path,
    version: str,
    run: Callable[..., str],
    tmp_path: Path,
) -> None:
    """A virtual environment by hashes, pipx by hashes, and uv by versions all give the program of this version."""
    require_program("pipx")
    checkout = sources("checkout")
    run("git", "init", "--quiet", cwd=checkout)
    (checkout / ".venv/bin").mkdir(parents=True)
    # The reader's `make dist` would make an environment first; here the one that runs the tests will do.
    python = checkout / ".venv/bin/python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (checkout / ".venv/.installed").touch()
    path = f"{tools}:/usr/local/bin:/usr/bin:/bin"
    surroundings = {
        "HOME": str(tmp_path),
        "PATH": path,
        "SOURCE_DATE_EPOCH": "1763856000",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    blocks = blocks_of("docs/install.md", "wheel")
    assert [word in "".join(blocks) for word in ("venv", "pipx", "uv tool")] == [True] * 3
    for block in blocks:
        said = run("bash", "-euo", "pipefail", "-c", block, cwd=checkout, environment=surroundings)
        assert said.rstrip().endswith(f"sev1probe {version}"), said
        (tmp_path / ".local/bin/sev1probe").unlink(missing_ok=True)
    # A library that is not the one of the lock is refused.
    lock = checkout / "requirements/run.txt"
    lock.write_text(re.sub(r"sha256:[0-9a-f]{60}", "sha256:" + "0" * 60, lock.read_text()))
    refused = subprocess.run(
        [
            "bash",
            "-c",
            "environment/bin/pip install --force-reinstall --no-deps --require-hashes -r requirements/run.txt",
        ],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stderr


@dataclass(kw_only=True)
class Stage:
    """One stage of the Containerfile, its steps done in a directory."""

    host: "Host"
    context: Path
    folder: str = "/"
    user: str = "0:0"
    environment: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def do(self, word: str, rest: str, earlier: "Stage | None") -> None:
        """Do one instruction as a builder does it."""
        if word == "RUN":
            script = f"cd {self.folder}\n{rest}\n"
            self.host.run(script, environment=self.environment, shares_network=True)
        elif word == "ENV":
            self.environment |= dict(pair.split("=", 1) for pair in rest.split())
        elif word == "WORKDIR":
            self.folder = rest
            self._inside(rest).mkdir(parents=True, exist_ok=True)
        elif word == "USER":
            self.user = rest
        elif word == "COPY" and rest.startswith("--from=build "):
            assert earlier is not None
            source, target = rest.split()[1:]
            shutil.copytree(earlier._inside(source), self._inside(target), symlinks=True)
        elif word == "COPY":
            *names, target = rest.split()
            for name in names:
                place = self._inside(f"{self.folder}/{target}")
                place.mkdir(parents=True, exist_ok=True)
                for path in (self.context / name).glob("*") if name.endswith("/") else [self.context / name]:
                    shutil.copy(path, place)
        else:
            self.said[word] = rest

    def _inside(self, path: str) -> Path:
        return self.host.files / path.lstrip("/")


def test_the_container_s_steps_make_a_program_that_runs_as_nobody_on_a_read_only_root(
    make_host: "Callable[[], Host]", sources: Callable[[str], Path], build: "Build", version: str
) -> None:
    """What the file says, done step by step, probes a provider, and its health check tells a daemon from none."""
    context = sources("context")
    build(context, ".ci/dist", context / "dist")
    stages: list[Stage] = []
    text = re.sub(r"^#.*\n", "", CONTAINERFILE.read_text(), flags=re.MULTILINE)
    for line in filter(None, text.splitlines()):
        word, rest = line.split(" ", 1)
        if word == "FROM":
            stages.append(Stage(host=make_host(), context=context))
            (stages[-1].host.files / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        elif stages:
            stages[-1].do(word, rest, stages[0])
    final = stages[-1]
    assert final.user == "10001:10001"
    entry = [*json.loads(final.said["ENTRYPOINT"]), *json.loads(final.said["CMD"])]
    check = json.loads(final.said["HEALTHCHECK"].partition("CMD ")[2])
    (final.host.files / "etc/sev1probe/sev1probe.yaml").write_text(
        "targets:\n  - name: main\n    sender: probe@example.com\n    provider: sparkpost-us\n"
        "    key: {file: /var/lib/sev1probe/simulated/api.key}\n"
        "    api: {base_url: 'https://127.0.0.1:8443/api/v1', ca_file: /var/lib/sev1probe/simulated/ca.pem}\n"
        "    smtp: {host: 127.0.0.1, port: 2587, ca_file: /var/lib/sev1probe/simulated/ca.pem}\n"
    )
    said = final.host.run(
        f"""
        mount -t tmpfs -o uid=10001,gid=10001,mode=700 volume /var/lib/sev1probe
        mount -o remount,ro /
        cd {final.folder}
        nobody="setpriv --reuid 10001 --regid 10001 --clear-groups --bounding-set=-all --no-new-privs"
        $nobody touch /opt/sev1probe/x && exit 9
        $nobody sev1probe --version
        $nobody sev1probe simulate --directory simulated >simulator.log 2>&1 & simulator=$!
        timeout 20 sh -c 'until grep -q authority simulator.log; do sleep 0.1; done'
        $nobody {quoted(check)} 2>/dev/null && exit 8
        $nobody {quoted(entry)} >daemon.log 2>&1 & daemon=$!
        for _ in $(seq 100); do {quoted(check)} 2>/dev/null && break || sleep 0.3; done
        {quoted(check)} || cat daemon.log
        kill -TERM $daemon; wait $daemon; echo "ended with $?"
        kill -TERM $simulator; wait $simulator
        $nobody sev1probe ledger verify --config /etc/sev1probe/sev1probe.yaml
        """,
        environment=final.environment,
    )
    assert f"sev1probe {version}\n" in said
    assert "ended with 0\n" in said
    assert ": sound\n" in said
    assert not list((final.host.files / "opt/sev1probe/lib").rglob("pip/__init__.py"))


def quoted(words: list[str]) -> str:
    """Write a command for a shell."""
    return " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)

"""The units, as systemd's own tools judge them without a running systemd."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

UNITS = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
SYSTEM_UNITS = Path("/usr/lib/systemd/system")
NAMES = ("sev1probe.service", "sev1probe@.service")
EXPOSURE_MAX = 1.5
DOCUMENTED_EXPOSURE = re.compile(r"exposure level of \*\*([0-9.]+)\*\*")


@pytest.fixture
def installed(tmp_path: Path, do_without: Callable[[str], NoReturn]) -> Path:
    """Make a root with this host's units, ours, and a file where each program is expected."""
    if shutil.which("systemd-analyze") is None or not SYSTEM_UNITS.is_dir():
        do_without("systemd is not installed, so nothing here can judge its units")
    shutil.copytree(SYSTEM_UNITS, tmp_path / "usr/lib/systemd/system", symlinks=True)
    for name in NAMES:
        shutil.copy(UNITS / name, tmp_path / "usr/lib/systemd/system")
        for program in re.findall(r"^Exec\w+=(\S+)", (UNITS / name).read_text(), re.MULTILINE):
            path = tmp_path / program.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(0o755)
    return tmp_path


def analyze(*arguments: object) -> str:
    """Run systemd-analyze; it must have nothing to complain of."""
    done = subprocess.run(
        ["systemd-analyze", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_the_sandbox_is_as_tight_as_the_docs_say(installed: Path, name: str) -> None:
    """The exposure that systemd sums up is at most 1.5, and the figure in docs/systemd.md."""
    unit = shutil.copy(UNITS / name, installed / name.replace("@", "@second"))
    said = analyze("security", "--offline=true", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found, said
    assert float(found[1]) <= EXPOSURE_MAX
    documented = DOCUMENTED_EXPOSURE.search((UNITS.parents[1] / "docs" / "systemd.md").read_text())
    assert documented
    assert documented[1] == found[1]


def test_systemd_understands_every_line(installed: Path) -> None:
    """No key is unknown, no value is wrong, no program is missing."""
    for name in ("sev1probe.service", "sev1probe@second.service"):
        assert analyze("verify", "--man=no", f"--root={installed}", name) == ""


def test_the_unit_for_several_differs_in_its_places_only() -> None:
    """What is mended in one is mended in the other."""
    one, several = ((UNITS / name).read_text() for name in NAMES)
    body = several[several.index("[Unit]") :]
    for mine, theirs in (
        ("Unavailable: %i\n", "Unavailable\n"),
        ("/etc/sev1probe/%i/", "/etc/sev1probe/"),
        ("StateDirectory=sev1probe-%i\n", "StateDirectory=sev1probe\n"),
    ):
        assert mine in body
        body = body.replace(mine, theirs)
    assert body == one[one.index("[Unit]") :]

"""The wheel and the source distribution: the same bytes from the same sources, and all that is needed, but no more."""

import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

Build = Callable[..., str]
ROOT = Path(__file__).resolve().parents[3]
WHEEL = "sev1probe-*-py3-none-any.whl"
SOURCES = "sev1probe-*.tar.gz"


@pytest.fixture(scope="module")
def built(sources: Callable[[str], Path], build: Build, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Build in two folders: the second also holds what a developer's checkout holds, by another hand and clock."""
    outputs = []
    for name in ("here", "elsewhere"):
        folder = sources(name)
        if name == "elsewhere":
            for left in ("probe/__pycache__/x.pyc", "build/x.py", "dist/old.whl", ".venv/x.py", "x.db"):
                (folder / left).parent.mkdir(parents=True, exist_ok=True)
                (folder / left).write_text("left over")
            for path in folder.rglob("*.py"):
                os.utime(path, (1_600_000_000, 1_600_000_000))
                path.chmod(0o600)
        outputs.append(tmp_path_factory.mktemp(f"dist-{name}"))
        build(folder, ".ci/dist", outputs[-1])
    return outputs


@pytest.mark.slow
def test_two_builds_in_two_folders_give_the_same_bytes(built: list[Path]) -> None:
    """Where, when and by whom it is built can't be told from the wheel and the source distribution."""
    for pattern in (WHEEL, SOURCES):
        first, second = (next(folder.glob(pattern)) for folder in built)
        assert first.name == second.name
        assert first.read_bytes() == second.read_bytes(), pattern


@pytest.mark.slow
def test_the_wheel_has_all_that_the_program_needs_and_nothing_of_its_tests(built: list[Path]) -> None:
    """Every file of the program is in the wheel, and its templates, migrations, schema and licence are."""
    with zipfile.ZipFile(next(built[0].glob(WHEEL))) as wheel:
        names = set(wheel.namelist())
        data = (
            f"{next(name for name in names if '.dist-info/' in name).split('.dist-info/')[0]}.data/data/share/sev1probe"
        )
        assert data.endswith(".data/data/share/sev1probe")
        metadata = wheel.read(next(name for name in names if name.endswith("/METADATA"))).decode()
        for name in ("sev1probe.schema.json", "sev1probe.example.yaml", "scenario.example.yaml"):
            assert wheel.read(f"{data}/{name}") == (ROOT / "config" / name).read_bytes()
    files = (path for path in (ROOT / "probe").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    program = {path.relative_to(ROOT).as_posix() for path in files}
    assert {name for name in names if name.startswith("probe/")} == program
    assert "probe/py.typed" in names
    assert any(name.startswith("probe/issues/templates/") for name in names)
    assert any(name.startswith("probe/ledger/migrations/versions/v0001") for name in names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"probe", "sev1probe"}
    needed = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert needed
    assert not any(tool in line for line in needed for tool in ("pytest", "mypy", "ruff", "hypothesis", "psycopg"))


@pytest.mark.slow
def test_the_sources_build_the_same_wheel_and_bring_no_tests(
    built: list[Path], build: Build, tmp_path: Path, run: Callable[..., str]
) -> None:
    """The unpacked source distribution gives the very wheel, and says that it needs a time where there is no commit."""
    run("tar", "-xf", next(built[0].glob(SOURCES)), cwd=tmp_path)
    folder = next(tmp_path.glob("sev1probe-*"))
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    assert {"LICENSE", "docs/install.md", "deploy/debian/control.in", "requirements/run.txt"} <= set(names)
    assert not [name for name in names if name.startswith(("tests", ".venv", "dist", "build"))]
    build(folder, ".ci/dist", tmp_path / "again")
    assert next((tmp_path / "again").glob(WHEEL)).read_bytes() == next(built[0].glob(WHEEL)).read_bytes()
    alone = subprocess.run(
        ["sh", ".ci/epoch"], cwd=folder, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
    )
    assert alone.returncode == 1
    assert "SOURCE_DATE_EPOCH" in alone.stderr
    assert run("sh", ".ci/epoch", cwd=ROOT).strip() == run("git", "log", "-1", "--format=%ct", cwd=ROOT).strip()

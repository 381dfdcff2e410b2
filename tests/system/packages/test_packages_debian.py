"""The Debian package, built twice, and its life on a host: install, upgrade, remove, purge."""

import functools
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.system.packages.conftest import Build, Host

pytestmark = pytest.mark.packages
ROOT = Path(__file__).resolve().parents[3]

# Stands in for systemd's command where no systemd runs, and writes down what the maintainer's scripts ask of it.
SYSTEMCTL = '#!/bin/sh\necho "$@" >>/srv/asked\n'
SETTINGS = """
    cat >/etc/sev1probe/sev1probe.yaml <<'END'
    vantage: here
    targets:
      - name: main
        sender: probe@example.com
        provider: sparkpost-us
        key: {file: /srv/simulated/api.key}
        api: {base_url: "https://127.0.0.1:8443/api/v1", ca_file: /srv/simulated/ca.pem}
        smtp: {host: 127.0.0.1, port: 2587, ca_file: /srv/simulated/ca.pem}
    ledger: {url: /var/lib/sev1probe/ledger.sqlite3}
    END
"""


@pytest.fixture(scope="module")
def packages(
    sources: Callable[[str], Path], build: "Build", run: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Build the package in two folders, and from the first make one of the next revision, with other settings in it."""
    folders = [sources(name) for name in ("here", "elsewhere")]
    outputs = [tmp_path_factory.mktemp(f"deb-{folder.name}") for folder in folders]
    with ThreadPoolExecutor() as pool:
        said = list(pool.map(build, folders, ["deploy/debian/build"] * 2, outputs))
    built = [Path(words.strip().splitlines()[-1]) for words in said]
    tree = tmp_path_factory.mktemp("next") / "tree"
    run("dpkg-deb", "--raw-extract", built[0], tree, cwd=tree.parent)
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace("-1\n", "-2\n", 1))
    run("dpkg-deb", "-Znone", "--build", tree, tree.parent, cwd=tree.parent)
    with (tree / "etc/sev1probe/sev1probe.yaml").open("a") as settings:
        settings.write("# a line of the third revision\n")
    control.write_text(control.read_text().replace("-2\n", "-3\n", 1))
    run("dpkg-deb", "-Znone", "--build", tree, tree.parent, cwd=tree.parent)
    return [*built, *sorted(tree.parent.glob("*.deb"))]


@pytest.fixture
def installed(host: "Host", packages: list[Path]) -> "Host":
    """Install the package on a host on which systemd runs, as far as maintainer's scripts can tell."""
    (host.files / "run/systemd/system").mkdir(parents=True, exist_ok=True)
    stand_in = host.files / "usr/local/sbin/systemctl"
    stand_in.write_text(SYSTEMCTL)
    stand_in.chmod(0o755)
    for revision, package in enumerate((packages[0], *packages[2:]), start=1):
        shutil.copyfile(package, host.files / f"srv/{revision}.deb")
    host.run("dpkg --install 1.deb")
    return host


def asked(host: "Host") -> list[str]:
    """Give what systemd was asked since the last time."""
    path = host.files / "srv/asked"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def test_two_builds_in_two_folders_give_the_same_bytes(packages: list[Path]) -> None:
    """Where and when it was built can't be told from the package."""
    assert packages[0].name == packages[1].name
    assert packages[0].read_bytes() == packages[1].read_bytes()


def test_the_package_says_what_it_needs_and_carries_no_place_of_its_build(
    packages: list[Path], run: Callable[..., str], tmp_path: Path
) -> None:
    """It needs the very minor version of Python that it has the libraries for; only the settings are a conffile."""
    field = functools.partial(run, "dpkg-deb", "--field", packages[0], cwd=tmp_path)
    minor = int(run("/usr/bin/python3", "-c", "import sys; print(sys.version_info.minor)", cwd=tmp_path))
    assert f"python3 (>= 3.{minor}~), python3 (<< 3.{minor + 1})" in field("Depends")
    run("dpkg-deb", "--raw-extract", packages[0], tmp_path / "tree", cwd=tmp_path)
    assert (tmp_path / "tree/DEBIAN/conffiles").read_text() == "/etc/sev1probe/sev1probe.yaml\n"
    files = [path for path in (tmp_path / "tree").rglob("*") if path.is_file() and not path.is_symlink()]
    assert (tmp_path / "tree/etc/sev1probe/credentials").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "tree/usr/lib/systemd/system/sev1probe.service") in files
    # An alert names its runbook by this path, and the host that the package is for has no checkout.
    examples = tmp_path / "tree/usr/share/doc/sev1probe/examples"
    for folder, pattern in (("runbooks", "*.md"), ("prometheus", "rules/*.yml"), ("alertmanager", "**/*.tmpl")):
        named = [path.relative_to(ROOT) for path in (ROOT / "deploy" / folder).glob(pattern)]
        assert named
        assert {examples / path for path in named} <= set(files)
    assert examples / "grafana/dashboards/on-call.json" in files
    for path in files:
        assert b"pytest-of-" not in path.read_bytes(), path
    assert not [path for path in files if "tests" in path.parts and "probe" in path.parts]
    run("md5sum", "--check", "--quiet", "DEBIAN/md5sums", cwd=tmp_path / "tree")


def test_the_installed_program_probes_by_the_environment_that_it_brought(installed: "Host", version: str) -> None:
    """It has its version, a demo of a provider, an attempt on it, a daemon and a ledger, whatever PYTHONPATH says."""
    said = installed.run(
        """
        mkdir /srv/other
        echo 'raise SystemExit("not ours")' | tee /srv/other/typer.py /srv/other/yaml.py >/srv/other/probe.py
        export PYTHONPATH=/srv/other PYTHONHOME=/nowhere
        sev1probe --version
        code=0; sev1probe check-config /etc/sev1probe/sev1probe.yaml || code=$?; echo "check-config: $code"
        /opt/sev1probe/bin/python3 -I -c 'import psycopg, sys; print(sys.prefix)'
        sev1probe simulate --directory simulated >simulator.log 2>&1 & simulator=$!
        timeout 20 sh -c 'until grep -q authority simulator.log; do sleep 0.1; done'
        """
        + SETTINGS
        + """
        sev1probe check-config /etc/sev1probe/sev1probe.yaml
        sev1probe once --config /etc/sev1probe/sev1probe.yaml
        mkdir -p /var/lib/sev1probe
        sev1probe run --config /etc/sev1probe/sev1probe.yaml >daemon.log 2>&1 & daemon=$!
        timeout 30 sh -c 'until sev1probe status | grep -q "available"; do sleep 0.2; done'
        kill -TERM "$daemon"; wait "$daemon"
        kill -TERM "$simulator"; wait "$simulator" || true
        sev1probe ledger verify --config /etc/sev1probe/sev1probe.yaml
        find /opt/sev1probe -newer simulator.log
        """
    )
    assert said.startswith(f"sev1probe {version}\n")
    assert "targets[0].sender" in said
    assert "check-config: 2" in said
    assert "\n/opt/sev1probe\n" in said
    assert ": sound\n" in said
    assert said.endswith("--anchor checks it later.\n"), "files under /opt were changed"


def test_the_install_page_s_commands_for_a_host_work(
    host: "Host", packages: list[Path], blocks_of: Callable[..., list[str]], version: str
) -> None:
    """The package is installed, and the settings and the key that are put in place are right, the key for root only."""
    (host.files / "etc/apt/apt.conf.d/99offline").write_text('APT::Install-Recommends "false";\n')
    (host.files / "srv/dist").mkdir()
    shutil.copy(packages[0], host.files / "srv/dist")
    (host.files / "srv/key").write_text("secret\n")
    (host.files / "srv/sev1probe.yaml").write_text(
        "targets: [{name: main, provider: sparkpost-us, sender: a@example.com, key: {credential: key}}]\n"
    )
    said = host.run("\n".join(blocks_of("docs/install.md", "host")))
    assert f"\nsev1probe {version}\n" in said
    assert "\n/etc/sev1probe/sev1probe.yaml: right. 1 target(s)" in said
    assert (host.files / "etc/sev1probe/credentials/key").stat().st_mode & 0o777 == 0o600


def test_installing_starts_nothing_and_an_upgrade_restarts_only_what_runs(installed: "Host") -> None:
    """systemd is told of the units; only from the second installation on is anything restarted, if it runs."""
    assert asked(installed) == ["--system daemon-reload"]
    installed.run("dpkg --install 2.deb")
    assert asked(installed) == ["--system daemon-reload", "try-restart sev1probe.service sev1probe@*.service"]
    installed.run("dpkg --remove sev1probe")
    assert asked(installed) == ["stop sev1probe.service sev1probe@*.service", "--system daemon-reload"]


def test_upgrades_keep_edited_settings_and_only_the_purge_takes_the_ledger(installed: "Host") -> None:
    """Settings and ledger outlive upgrades and the removal; the purge leaves nothing behind."""
    said = installed.run(
        """
        echo '# mine' >>/etc/sev1probe/sev1probe.yaml
        mkdir -p /var/lib/private/sev1probe /etc/systemd/system/multi-user.target.wants
        echo secret >/etc/sev1probe/credentials/key
        ln -s private/sev1probe /var/lib/sev1probe
        echo record >/var/lib/sev1probe/ledger.sqlite3
        ln -s /usr/lib/systemd/system/sev1probe.service /etc/systemd/system/multi-user.target.wants/sev1probe.service
        mkdir -p /etc/sev1probe/second /var/lib/private/sev1probe-second /var/lib/private/sev1probe-others
        touch /etc/sev1probe/second/sev1probe.yaml
        ln -s private/sev1probe-second /var/lib/sev1probe-second
        kept() { tail -n 1 /etc/sev1probe/sev1probe.yaml; cat /etc/sev1probe/credentials/key /var/lib/sev1probe/*; }
        dpkg --install 2.deb >/dev/null; kept
        dpkg --force-confold --install 3.deb >/dev/null 2>&1; kept; tail -n 1 /etc/sev1probe/sev1probe.yaml.dpkg-dist
        dpkg --remove sev1probe >/dev/null; kept
        ls -d /opt/sev1probe /usr/bin/sev1probe 2>/dev/null || true
        dpkg --purge sev1probe >/dev/null 2>&1
        """
    )
    kept = "# mine\nsecret\nrecord\n"
    assert said == kept + kept + "# a line of the third revision\n" + kept
    # What was deleted of this machine's own files is a character device in the layer of changes.
    left = [path for path in installed.changes.rglob("*sev1probe*") if not path.is_char_device()]
    somebody_elses = installed.changes / "var/lib/private/sev1probe-others"
    assert [path for path in left if path.relative_to(installed.changes).parts[0] != "tmp"] == [somebody_elses]

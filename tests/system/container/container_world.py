"""A Debian that is booted for the test, with its own init, journal, processes and network, and gone afterwards."""

import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
# What is the same for every run is kept: the packages of a small Debian, without anything of ours.
CACHE = ROOT / ".make" / "container"
PROGRAMS = ("systemd-nspawn", "mmdebstrap", "nsenter", "dpkg-deb")
PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3", "ca-certificates", "procps", "init-system-helpers")
BUILD_TIMEOUT_S = 900.0
BOOT_TIMEOUT_S = 60.0
COMMAND_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0
WAIT_S = 30.0
POLL_S = 0.1
# Where systemd can be asked inside, and nothing of this process's environment.
INSIDE = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"}


def lacking() -> str:
    """Say why no Debian can be booted here, or nothing."""
    if os.geteuid() != 0:
        return "booting a container needs root"
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        return f"booting a container needs {', '.join(missing)}"
    if release().get("ID") != "debian" or not _mirror():
        return "the container is a Debian of this host's release, from the mirror that apt uses here"
    if control_groups() is None:
        return "booting a container needs cgroup v2, mounted"
    return ""


def release() -> dict[str, str]:
    """Say which distribution this host is."""
    return platform.freedesktop_os_release()


def control_groups() -> Path | None:
    """Find where this process's own group of cgroup v2 is mounted."""
    own = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    for _, place, kind, options, *_ in mounts:
        if kind == "cgroup2" and place.startswith("/sys/") and "rw" in options.split(","):
            return Path(place + own)
    return None


def _mirror() -> str:
    """Ask apt where it gets this release from; the answer is never written anywhere."""
    wanted = ("Created-By: Packages", f"Codename: {release().get('VERSION_CODENAME')}")
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)", *wanted], capture_output=True, text=True, check=False
    )
    return next(iter(asked.stdout.splitlines()), "")


def debian() -> Path:
    """Make a small Debian, or take the one that an earlier run has made."""
    tree = CACHE / str(release()["VERSION_CODENAME"])
    if not tree.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = tree.with_suffix(f".{os.getpid()}")
        said = ["mmdebstrap", "--quiet", "--variant=essential", f"--include={','.join(PACKAGES)}"]
        try:
            _done([*said, release()["VERSION_CODENAME"], str(fresh), _mirror()], BUILD_TIMEOUT_S)
            fresh.rename(tree)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return tree


def packages(folder: Path) -> tuple[Path, Path]:
    """Build the Debian package, and a later revision of it with the same contents."""
    first = Path(_done(["sh", str(ROOT / "deploy/debian/build"), str(folder)], BUILD_TIMEOUT_S).splitlines()[-1])
    tree, later = folder / "tree", Path(str(first).replace("-1_", "-2_"))
    _done(["dpkg-deb", "-R", str(first), str(tree)])
    control = tree / "DEBIAN" / "control"
    control.write_text(control.read_text().replace("-1\n", "-2\n", 1))
    _done(["dpkg-deb", "-Zgzip", "-z1", "-b", str(tree), str(later)])
    shutil.rmtree(tree)
    return first, later


def _done(command: list[str], timeout_s: float = COMMAND_TIMEOUT_S) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"{command[0]} failed: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A booted Debian."""

    leader: int
    console: Path

    def try_run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end, as root."""
        return subprocess.run(
            ["nsenter", "--all", "--target", str(self.leader), *command],
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # The journal's export holds binary numbers.
            timeout=COMMAND_TIMEOUT_S,
            env=INSIDE,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def run(self, *command: str) -> str:
        """Run a command inside that has to succeed; return what it printed."""
        done = self.try_run(*command)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def path(self, inside: str) -> Path:
        """Name a path inside as the test sees it; no symbolic link of the container may lie on the way."""
        return Path(f"/proc/{self.leader}/root{inside}")

    def write(self, inside: str, text: str, mode: int = 0o644) -> None:
        """Write a file inside."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def shown(self, unit: str, field: str) -> str:
        """Return one property of a unit."""
        return self.run("systemctl", "show", unit, "--value", "-p", field).strip()

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """Return the journal's entries that match, oldest first."""
        lines = self.run("journalctl", "--no-pager", "-o", "json", "--all", *matches).splitlines()
        return [json.loads(line) for line in lines]

    def until(self, condition: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> Any:
        """Return the first true answer."""
        deadline = time.monotonic() + timeout_s
        while not (answer := condition()):
            assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}\n{self.last_words()}"
            time.sleep(POLL_S)
        return answer

    def last_words(self) -> str:
        """Return the end of the journal, for a test that fails."""
        return self.try_run("journalctl", "--no-pager", "-n", "40").stdout


@contextlib.contextmanager
def booted(tree: Path, folder: Path, name: str) -> Iterator[Container]:
    """Boot a Debian whose changes stay in memory, with a loopback of its own and no other network."""
    groups = control_groups()
    assert groups is not None
    group, console = groups / name, folder / "console"
    group.mkdir()
    command = [
        *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "--console=pipe"),
        *(f"--directory={tree}", "--volatile=overlay", "--private-network", f"--machine={name}", "--link-journal=no"),
        # Reading the kernel's clock is the business of the unit's own filter here, not of the container's.
        *("--system-call-filter=adjtimex clock_adjtime", f"--bind-ro={folder}:/srv/packages"),
        "systemd.unit=multi-user.target",
    ]
    with console.open("wb") as output:
        nspawn = subprocess.Popen(
            ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(group), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            start_new_session=True,
        )
    try:
        yield _wait_for_boot(nspawn, console)
    finally:
        _end(nspawn)
        _remove(group)
        _remove(Path("/sys/fs/cgroup/systemd") / name)
        shutil.rmtree(Path("/run/systemd/nspawn/propagate") / name, ignore_errors=True)


def _end(nspawn: subprocess.Popen[bytes]) -> None:
    """Have it powered off; its init dies with it in any case, and all processes inside with that."""
    nspawn.send_signal(signal.SIGTERM)
    try:
        nspawn.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        nspawn.kill()
        nspawn.wait(STOP_TIMEOUT_S)


def _wait_for_boot(nspawn: subprocess.Popen[bytes], console: Path) -> Container:
    deadline = time.monotonic() + BOOT_TIMEOUT_S
    children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children")
    while True:
        has_time = nspawn.poll() is None and time.monotonic() < deadline
        assert has_time, f"the container does not boot: {console.read_text(errors='replace')[-3000:]}"
        with contextlib.suppress(OSError, IndexError, subprocess.TimeoutExpired):
            container = Container(leader=int(children.read_text().split()[0]), console=console)
            if container.try_run("systemctl", "is-system-running", "--wait").stdout.strip() == "running":
                return container
        time.sleep(POLL_S)


def _remove(group: Path) -> None:
    """Remove a control group and those below it, as soon as their last process is gone."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while group.is_dir():
        try:
            for below, _, _ in os.walk(group, topdown=False):
                Path(below).rmdir()
        except OSError:
            assert time.monotonic() < deadline, f"processes live on in {group}"
            time.sleep(POLL_S)

"""Real servers on loopback, each with its own folder and free ports, stopped by its own process id."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
import trustme

HOST = "127.0.0.1"
SINK_DOMAIN = "sink.test"
TEMPLATES = Path(__file__).parent / "servers"
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """A throw-away authority and one certificate of it, good for localhost and 127.0.0.1."""

    ca_file: Path
    chain_file: Path
    key_file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Postfix:
    """A running Postfix that takes mail for SINK_DOMAIN from one login and throws it away."""

    host: str
    port_starttls: int
    port_implicit: int
    ca_file: Path
    user: str
    password: str
    sender: str
    recipient: str
    log_path: Path
    folder: Path
    process: subprocess.Popen[bytes]

    def log(self) -> str:
        """Return what Postfix has logged so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_for_log(self, text: str, timeout_s: float = 5.0) -> str:
        """Return the first log line that holds the text; Postfix logs a message shortly after its reply."""
        return _wait_for_line(self.log_path, text, timeout_s)

    def reload(self) -> None:
        """Have Postfix read its configuration again; its workers end after the session that they are in."""
        before = self.log().count(" reload -- ")
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.log().count(" reload -- ") == before:
            assert time.monotonic() < deadline, "Postfix did not reload"
            time.sleep(POLL_S)

    def pause(self) -> None:
        """Freeze all its processes: the kernel still accepts connections, and nothing ever answers."""
        _pause(self.process)

    def resume(self) -> None:
        """Let it go on after pause()."""
        _resume(self.process)

    def stop(self) -> None:
        """End it; connecting is refused from then on."""
        _stop(self.process)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpsApi:
    """A running nginx that answers POST /api/v1/transmissions as the provider documents it."""

    host: str
    port: int
    base_url: str
    ca_file: Path
    log_path: Path
    folder: Path
    process: subprocess.Popen[bytes]

    def set_down(self, down: bool) -> None:
        """Answer 503 with a JSON error, or no longer."""
        self._set("down", down)

    def set_silent(self, silent: bool) -> None:
        """Take the request and never answer, or no longer."""
        self._set("silent", silent)

    def heal(self) -> None:
        """Undo every fault."""
        self.set_down(False)
        self.set_silent(False)
        self.resume()

    def requests(self) -> list[int]:
        """Return the status of each finished request (499: the client hung up first), oldest first."""
        return [int(line.split()[0]) for line in self.log_path.read_text().splitlines()]

    def wait_for_requests(self, count: int, timeout_s: float = 5.0) -> list[int]:
        """Return the statuses once there are that many; nginx logs a request shortly after its last byte."""
        deadline = time.monotonic() + timeout_s
        while len(self.requests()) < count:
            assert time.monotonic() < deadline, f"nginx logged {self.requests()}, not {count} requests"
            time.sleep(POLL_S)
        return self.requests()

    def pause(self) -> None:
        """Freeze all its processes: the kernel still accepts connections, and nothing ever answers."""
        _pause(self.process)

    def resume(self) -> None:
        """Let it go on after pause()."""
        _resume(self.process)

    def stop(self) -> None:
        """End it; connecting is refused from then on."""
        _stop(self.process)

    def _set(self, fault: str, on: bool) -> None:
        if on:
            (self.folder / fault).touch()
        else:
            (self.folder / fault).unlink(missing_ok=True)


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Callable[[str], Path]]:
    """Give a function that makes a folder which a server's unprivileged workers can enter; pytest's own they can't."""
    folders: list[Path] = []

    def make(name: str) -> Path:
        folder = Path(tempfile.mkdtemp(prefix=f"sev1probe-{name}-"))
        folder.chmod(0o755)
        folders.append(folder)
        return folder

    yield make
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def certificates(server_folder: Callable[[str], Path]) -> Certificates:
    """Make the authority that both servers' certificates come from."""
    folder = server_folder("certificates")
    made = Certificates(ca_file=folder / "ca.pem", chain_file=folder / "chain.pem", key_file=folder / "key.pem")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", HOST)
    authority.cert_pem.write_to_path(str(made.ca_file))
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(made.chain_file), append=True)
    certificate.private_key_pem.write_to_path(str(made.key_file))
    made.key_file.chmod(0o600)
    return made


@pytest.fixture(scope="session")
def start_postfix(
    require_program: Callable[[str], str],
    do_without: Callable[[str], NoReturn],
    free_port: Callable[[], int],
    certificates: Certificates,
    server_folder: Callable[[str], Path],
) -> Iterator[Callable[..., Postfix]]:
    """Give a function that starts a Postfix of one's own, for tests that stop it or see where its mail goes."""
    with contextlib.ExitStack() as started:

        def start(hand_on_to: int | None = None) -> Postfix:
            postfix, master = require_program("postfix"), require_program("master")
            saslpasswd = require_program("saslpasswd2")
            if os.geteuid() != 0:
                do_without("needs root: Postfix starts as nobody else")
            folder = server_folder("postfix")
            ports = (free_port(), free_port())
            _write_postfix_configuration(folder, certificates, *ports)
            if hand_on_to is not None:
                _have_postfix_hand_on(folder, hand_on_to)
            _write_postfix_login(saslpasswd, folder, user="probe", password="correct-horse")
            # `postfix start-fg` would put a shell between us and the master; `check` makes the queue's folders.
            subprocess.run([postfix, "-c", str(folder), "check"], check=True, capture_output=True)
            process = _spawn([master, "-c", str(folder), "-s"], folder / "start.out")
            started.callback(_stop, process)
            _wait_for_port(process, ports[0], folder / "start.out")
            _wait_for_port(process, ports[1], folder / "start.out")
            return Postfix(
                host=HOST,
                port_starttls=ports[0],
                port_implicit=ports[1],
                ca_file=certificates.ca_file,
                user="probe",
                password="correct-horse",
                sender="probe@sender.test",
                recipient=f"second@{SINK_DOMAIN}",
                log_path=folder / "mail.log",
                folder=folder,
                process=process,
            )

        yield start


@pytest.fixture(scope="session")
def postfix(start_postfix: Callable[[], Postfix]) -> Postfix:
    """Run one Postfix for all tests; what a test paused is resumed after it."""
    return start_postfix()


@pytest.fixture(scope="session")
def start_https_api(
    require_program: Callable[[str], str],
    free_port: Callable[[], int],
    certificates: Certificates,
    server_folder: Callable[[str], Path],
) -> Iterator[Callable[[], HttpsApi]]:
    """Give a function that starts an nginx of one's own, for tests that stop it."""
    with contextlib.ExitStack() as started:

        def start() -> HttpsApi:
            program = require_program("nginx")
            folder, port = server_folder("nginx"), free_port()
            # A listener that nobody accepts from: the kernel takes the connection and the request, and that is all.
            silent = started.enter_context(socket.create_server((HOST, 0), backlog=4096))
            doors = {"LISTEN": f"{HOST}:{port}", "SILENT": f"{HOST}:{silent.getsockname()[1]}"}
            _write_configuration("nginx.conf", folder, certificates, **doors)
            command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
            process = _spawn(command, folder / "start.out")
            started.callback(_stop, process)
            _wait_for_port(process, port, folder / "start.out")
            return HttpsApi(
                host=HOST,
                port=port,
                base_url=f"https://{HOST}:{port}/api/v1",
                ca_file=certificates.ca_file,
                log_path=folder / "access.log",
                folder=folder,
                process=process,
            )

        yield start


@pytest.fixture(scope="session")
def https_api(start_https_api: Callable[[], HttpsApi]) -> HttpsApi:
    """Run one nginx for all tests; the faults that a test set are undone after it."""
    return start_https_api()


@pytest.fixture(autouse=True)
def healed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave the shared servers as they were found."""
    yield
    if "postfix" in request.fixturenames:
        request.getfixturevalue("postfix").resume()
    if "https_api" in request.fixturenames:
        request.getfixturevalue("https_api").heal()


def _write_configuration(name: str, folder: Path, certificates: Certificates, **addresses: str) -> None:
    values = {"FOLDER": folder, "CHAIN": certificates.chain_file, "KEY": certificates.key_file, **addresses}
    text = (TEMPLATES / name).read_text()
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    (folder / name).write_text(text)


def _write_postfix_configuration(folder: Path, certificates: Certificates, starttls: int, implicit: int) -> None:
    for name in ("queue", "data", "sasl"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", user="postfix")
    doors = {"STARTTLS": f"{HOST}:{starttls}", "IMPLICIT": f"{HOST}:{implicit}"}
    _write_configuration("main.cf", folder, certificates)
    _write_configuration("master.cf", folder, certificates, **doors)


def _have_postfix_hand_on(folder: Path, port: int) -> None:
    """Let mail go on to a server on loopback in place of being thrown away."""
    with (folder / "main.cf").open("a") as settings:
        settings.write(f"relay_transport = smtp:[{HOST}]:{port}\n")
    with (folder / "master.cf").open("a") as services:
        services.write("smtp unix - - n - - smtp\n")


def _write_postfix_login(saslpasswd: str, folder: Path, *, user: str, password: str) -> None:
    users = folder / "sasl" / "sasldb2"
    command = [saslpasswd, "-p", "-c", "-f", str(users), "-u", "postfix.test", user]
    subprocess.run(command, input=password.encode(), check=True, capture_output=True)
    shutil.chown(users, user="postfix")
    (folder / "sasl" / "smtpd.conf").write_text(
        f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {users}\nmech_list: PLAIN LOGIN\n"
    )


def _spawn(command: list[str], output: Path) -> subprocess.Popen[bytes]:
    with output.open("wb") as sink:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True
        )


def _wait_for_port(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(POLL_S)
    logs = (output, output.with_name("mail.log"), output.with_name("error.log"))
    said = "".join(path.read_text(errors="replace") for path in logs if path.exists())
    pytest.fail(f"{process.args!r} did not listen on port {port} (exit {process.poll()}):\n{said}", pytrace=False)


def _wait_for_line(path: Path, text: str, timeout_s: float) -> str:
    deadline = time.monotonic() + timeout_s
    while True:
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        found = next((line for line in lines if text in line), None)
        if found is not None:
            return found
        assert time.monotonic() < deadline, f"{path.name} never held {text!r}; its end: {lines[-20:]}"
        time.sleep(POLL_S)


def _members(process: subprocess.Popen[bytes]) -> dict[int, str]:
    """Map each living process of a server to its state; _spawn made the server a session of its own."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            # A zombie has ended; init collects it whenever it does.
            if int(session) == process.pid and state not in "ZX":
                found[int(folder.name)] = state
    return found


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _pause(process: subprocess.Popen[bytes]) -> None:
    # Again and again, because the server may be starting a child just now.
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while going := [pid for pid, state in _members(process).items() if state != "T"]:
        assert time.monotonic() < deadline, f"{process.args!r} can't be paused"
        _signal(going, signal.SIGSTOP)


def _resume(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        _signal(_members(process), signal.SIGCONT)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is not None:
        return  # Stopped before, and its number may be somebody else's by now.
    _resume(process)
    process.terminate()
    deadline = time.monotonic() + STOP_TIMEOUT_S
    # A child that was being started may have missed the word that its parent passed on.
    while left := _members(process):
        late = time.monotonic() > deadline
        if late or process.poll() is not None:
            _signal(left, signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(POLL_S)
    process.wait()

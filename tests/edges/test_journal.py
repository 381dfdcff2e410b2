"""The journal's native protocol, spoken to a socket that hears what systemd's journal would."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from probe import journal, log
from probe.journal import ENTRY_BYTES_MAX, VALUE_BYTES_MAX, Journal, entry
from probe.log import LineWriter


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    """Listen where a journal would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "journal"))
        listening.settimeout(5)
        yield listening


@pytest.fixture
def spoken(heard: socket.socket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LineWriter]:
    """Set the log up as a service's, whose standard error is the journal."""
    monkeypatch.setattr(journal, "ADDRESS", str(tmp_path / "journal"))
    with (tmp_path / "stderr").open("w") as stream:
        seen = os.fstat(stream.fileno())
        monkeypatch.setenv(journal.STREAM_VARIABLE, f"{seen.st_dev}:{seen.st_ino}")
        writer = log.set_up(stream=stream)
        yield writer
        writer.close(5)
        structlog.reset_defaults()
        assert (tmp_path / "stderr").read_text() == ""


def fields(datagram: bytes) -> dict[str, list[str]]:
    """Read an entry as the protocol says: `KEY=value`, or the key, 64 bits of length and the value."""
    found = dict[str, list[str]]()
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        key, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + length], rest[8 + length :]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        found.setdefault(key.decode(), []).append(value.decode())
        datagram = rest
    return found


def next_fields(listening: socket.socket) -> dict[str, list[str]]:
    """Receive one entry."""
    return fields(listening.recv(1 << 20))


def test_a_line_of_a_service_is_an_entry_with_a_field_for_each_fact(heard: socket.socket, spoken: LineWriter) -> None:
    """Text for people, the priority, and what `journalctl` can match; a list is a field that is repeated."""
    structlog.get_logger().critical(
        "critical_issue.opened", target="main", issue="main-1", words="503 Busy now", surfaces=["api", "smtp"], run=3
    )
    found = next_fields(heard)
    assert found.pop("SEV1PROBE_TIMESTAMP")[0].endswith("Z")
    assert found == {
        "MESSAGE": [
            'critical_issue.opened target=main issue=main-1 words="503 Busy now" surfaces=["api", "smtp"] run=3'
        ],
        "PRIORITY": ["2"],
        "SYSLOG_IDENTIFIER": ["sev1probe"],
        "SEV1PROBE_EVENT": ["critical_issue.opened"],
        "SEV1PROBE_LEVEL": ["critical"],
        "SEV1PROBE_TARGET": ["main"],
        "SEV1PROBE_ISSUE": ["main-1"],
        "SEV1PROBE_WORDS": ["503 Busy now"],
        "SEV1PROBE_SURFACES": ["api", "smtp"],
        "SEV1PROBE_RUN": ["3"],
    }


@pytest.mark.parametrize(("level", "priority"), [("error", "3"), ("warning", "4"), ("info", "6")])
def test_the_priority_is_that_of_syslog(heard: socket.socket, spoken: LineWriter, level: str, priority: str) -> None:
    """`journalctl -p err` finds what was said at error and above."""
    getattr(structlog.get_logger(), level)("it.was")
    assert next_fields(heard)["PRIORITY"] == [priority]


def test_what_a_provider_replies_forges_no_field(heard: socket.socket, spoken: LineWriter) -> None:
    """A value of several lines is one value, whatever stands in it."""
    structlog.get_logger().info("it.was", reply="550 no\nPRIORITY=0\n_PID=1", **{"odd name-é": "\ud800"})
    found = next_fields(heard)
    assert found["SEV1PROBE_REPLY"] == ["550 no\nPRIORITY=0\n_PID=1"]
    assert found["PRIORITY"] == ["6"]
    assert found["SEV1PROBE_ODD_NAME__"] == ["?"]
    assert set(found) >= {"MESSAGE", "SEV1PROBE_EVENT"}
    assert "\n" not in found["MESSAGE"][0]


def test_a_traceback_stands_below_the_text_without_local_variables(heard: socket.socket, spoken: LineWriter) -> None:
    """A bug of ours is readable in `journalctl`, and a secret that it meets is not."""

    def fails(password: SecretStr) -> None:
        raise RuntimeError("a bug")

    secret = "".join(("s3cr3t-", "in-a-local"))  # Not a literal in the line that the traceback quotes.
    try:
        fails(SecretStr(secret))
    except RuntimeError:
        structlog.get_logger().exception("it.failed", given=SecretStr(secret), all=[{"of": SecretStr(secret)}])
    whole = heard.recv(1 << 20)
    found = fields(whole)
    first, *rest = found["MESSAGE"][0].splitlines()
    assert first.startswith("it.failed given=")
    assert rest[0].startswith("Traceback")
    assert found["SEV1PROBE_EXCEPTION"][0].endswith("RuntimeError: a bug")
    assert secret.encode() not in whole


def test_a_call_sheet_stands_below_the_text_as_it_is(heard: socket.socket, spoken: LineWriter) -> None:
    """Who is woken reads it in `journalctl`; the name of a status page is a fact like any other."""
    structlog.get_logger().critical("critical_issue.opened", target="main", call_sheet="Call +1\nSay this\n")
    found = next_fields(heard)
    assert found["MESSAGE"] == ["critical_issue.opened target=main\nCall +1\nSay this\n"]
    assert found["SEV1PROBE_CALL_SHEET"] == ["Call +1\nSay this\n"]
    structlog.get_logger().warning("page.silent", page="provider")
    assert next_fields(heard)["MESSAGE"] == ["page.silent page=provider"]


def test_an_entry_has_room_in_a_datagram(heard: socket.socket, spoken: LineWriter) -> None:
    """A huge value is cut where a character ends, and fields for which there is no room are left out."""
    huge: dict[str, Any] = {f"part_{number}": "é" * VALUE_BYTES_MAX for number in range(8)}
    structlog.get_logger().info("it.was", **huge)
    whole = heard.recv(1 << 20)
    found = fields(whole)
    assert ENTRY_BYTES_MAX - VALUE_BYTES_MAX - 100 < len(whole) <= ENTRY_BYTES_MAX
    assert found["SEV1PROBE_PART_0"] == ["é" * (VALUE_BYTES_MAX // 2) + "…"]
    assert "SEV1PROBE_PART_7" not in found
    assert found["SEV1PROBE_EVENT"] == ["it.was"]


def test_a_journal_that_takes_nothing_holds_nobody_up(
    heard: socket.socket, spoken: LineWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit is dropped, and entries that get through again say how much that was, to the last line."""
    monkeypatch.setattr(log, "LINES_WAITING_MAX", 3)
    writer = LineWriter(Journal())
    for number in range(20_000):  # many more than a socket's queue holds
        writer.say(entry({"event": "it.was", "number": number}))
    arrived = lost = 0
    while arrived + lost < 20_000:
        got = next_fields(heard)
        arrived += got["SEV1PROBE_EVENT"] == ["it.was"]
        lost += int(got.get("SEV1PROBE_LINES", ["0"])[0])
    assert lost > 10_000
    writer.close(5)


def test_a_journal_that_was_made_anew_is_found_again(tmp_path: Path) -> None:
    """Only what was said while there was none is lost, and that is told."""
    path = tmp_path / "journal"
    first, second = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    with first, second:
        first.bind(str(path))
        first.settimeout(5)
        second.settimeout(5)
        writer = LineWriter(Journal(str(path)))
        writer.say(entry({"event": "before"}))
        assert next_fields(first)["SEV1PROBE_EVENT"] == ["before"]
        path.unlink()
        writer.say(entry({"event": "meanwhile"}))
        while not writer.dropped_lines:
            threading.Event().wait(0.01)
        second.bind(str(path))
        writer.say(entry({"event": "after"}))
        lost, after = next_fields(second), next_fields(second)
        assert (lost["SEV1PROBE_EVENT"], lost["SEV1PROBE_LINES"]) == (["log.lines_lost"], ["1"])
        assert after["SEV1PROBE_EVENT"] == ["after"]
        writer.close(5)


@pytest.mark.parametrize("stream_is", ["0:0", "", "nonsense"])
def test_another_stream_gets_lines_of_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream_is: str) -> None:
    """Who sends the output elsewhere finds it there, though a service manager once said where the journal is."""
    monkeypatch.setenv(journal.STREAM_VARIABLE, stream_is)
    with (tmp_path / "stderr").open("w") as stream:
        writer = log.set_up(stream=stream)
        structlog.get_logger().info("it.was")
        writer.close(5)
        structlog.reset_defaults()
    assert '"event": "it.was"' in (tmp_path / "stderr").read_text()


def test_a_journal_out_of_reach_gets_lines_of_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the journal's socket is hidden, lines of JSON go to the stream that leads there all the same."""
    monkeypatch.setattr(journal, "ADDRESS", str(tmp_path / "none"))
    with (tmp_path / "stderr").open("w") as stream:
        seen = os.fstat(stream.fileno())
        monkeypatch.setenv(journal.STREAM_VARIABLE, f"{seen.st_dev}:{seen.st_ino}")
        writer = log.set_up(stream=stream)
        structlog.get_logger().info("it.was")
        writer.close(5)
        structlog.reset_defaults()
    assert '"event": "it.was"' in (tmp_path / "stderr").read_text()

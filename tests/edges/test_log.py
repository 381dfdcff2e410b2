"""Lines for humans: they never hold anything up, and never hold what should not be read."""

import io
import json
import threading

import pytest
import structlog

from probe import log
from probe.log import TRACEBACKS_MAX, LineWriter, LogFormat, Sparing

FORMATS: tuple[LogFormat, ...] = ("console", "json")


@pytest.fixture(autouse=True)
def _structlog_as_before() -> object:
    """Leave structlog as it was found."""
    yield
    structlog.reset_defaults()


class StuckStream(io.StringIO):
    """A terminal that somebody has stopped, until told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = threading.Event()
        self.reached = threading.Event()

    def write(self, text: str) -> int:
        """Wait."""
        self.reached.set()
        self.goes_on.wait(10)
        return super().write(text)


def test_a_stuck_terminal_holds_nobody_up_and_what_was_lost_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that nobody takes are dropped and counted, and the count stands before the next line that is written."""
    monkeypatch.setattr(log, "LINES_WAITING_MAX", 3)
    stream = StuckStream()
    writer = LineWriter(stream)
    writer.say("first")
    assert stream.reached.wait(5)
    for number in range(10):
        writer.say(str(number))

    assert writer.dropped_lines == 7
    stream.goes_on.set()
    writer.close(5)

    assert '{"event": "log.lines_lost", "level": "warning", "lines": 7}' in stream.getvalue()
    assert stream.getvalue().startswith("first\n")


def test_a_traceback_is_one_json_line_without_local_variables() -> None:
    """Where a bug of ours meets a secret, the log has the place and not the secret."""
    stream = io.StringIO()
    writer = log.set_up("json", stream=stream)

    def fails(password: str) -> None:
        raise RuntimeError("a bug")

    secret = "".join(("s3cr3t-", "in-a-local"))  # Not a literal in the line that the traceback quotes.
    try:
        fails(secret)
    except RuntimeError:
        structlog.get_logger().exception("it.failed", target="main")
    writer.close(5)

    line = json.loads(stream.getvalue())
    assert line["event"] == "it.failed"
    assert line["level"] == "error"
    assert "RuntimeError: a bug" in line["exception"]
    assert secret not in stream.getvalue()


def test_a_page_is_printed_as_it_is_on_a_terminal_and_is_one_field_in_json() -> None:
    """A call sheet can be read in the terminal that the daemon runs in; a collector gets one line all the same."""
    page = "CRITICAL ISSUE: MAIN\n\nCALL: +1 555 0100\n"
    said = {}
    for log_format in FORMATS:
        stream = io.StringIO()
        writer = log.set_up(log_format, stream=stream)
        structlog.get_logger().critical("critical_issue.call_sheet", target="main", call_sheet=page)
        writer.close(5)
        said[log_format] = stream.getvalue()
    assert page in said["console"]
    assert json.loads(said["json"])["call_sheet"] == page


def test_a_bug_that_fails_every_attempt_does_not_fill_the_log() -> None:
    """Of the same traceback only a few are let through in a period; lines without one are never held back."""
    sparing = Sparing()
    passed = 0
    for _ in range(100):
        try:
            sparing(None, "error", {"event": "attempt.failed_inside", "exc_info": True})
            passed += 1
        except structlog.DropEvent:
            continue

    assert passed == TRACEBACKS_MAX
    assert sparing(None, "error", {"event": "another", "exc_info": True})
    assert sparing(None, "info", {"event": "attempt.failed_inside"})


def test_after_the_period_tracebacks_are_let_through_again() -> None:
    """A bug that comes back later is shown again."""
    sparing = Sparing(tracebacks_max=1, period_us=0)

    for _ in range(3):
        assert sparing(None, "error", {"event": "attempt.failed_inside", "exc_info": True})

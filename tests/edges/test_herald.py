"""The user's program, really run."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from probe.core.model import Condition
from probe.herald import WAITING_MAX, Herald

TURN = Condition(
    condition="blind",
    target="main",
    since_second=1_700_000_000,
    noticed_second=1_700_000_031,
    raised=True,
    words="no second was judged for 31 s: the disk is full; $(reboot)",
)
SECRET = {"PATH": os.environ["PATH"], "PROVIDER_KEY": "hunter2"}
WITHIN_S = 10.0
Write = Callable[[str], Path]


@pytest.fixture
def program(tmp_path: Path) -> Write:
    """Give a function that writes a program of Python lines, which knows its folder as `here`."""

    def write(text: str) -> Path:
        path = tmp_path / "program"
        head = f"#!{sys.executable} -I\nimport json, os, pathlib, subprocess, sys, time\n"
        path.write_text(f"{head}here = pathlib.Path({str(tmp_path)!r})\n{text}\n")
        path.chmod(0o700)
        return path

    return write


@pytest.fixture
def lines() -> Iterator[list[structlog.typing.EventDict]]:
    """Take the log's lines."""
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.fixture
async def herald() -> AsyncIterator[Herald]:
    """Run what there is to tell, with half a second for each program."""
    herald = Herald("here", environment=SECRET, program_s_max=0.5)
    task = asyncio.create_task(herald.tell_forever())
    yield herald
    herald.close()
    task.cancel()
    await asyncio.wait({task})


async def until(condition: Callable[[], bool]) -> None:
    """Wait beside the loop, which goes on."""

    def wait() -> None:
        deadline = time.monotonic() + WITHIN_S
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    await asyncio.to_thread(wait)


async def ended(lines: list[structlog.typing.EventDict], count: int = 1) -> list[structlog.typing.EventDict]:
    """Wait until so many programs ended, one way or the other."""
    await until(lambda: len(lines) >= count)
    return lines


def is_gone(process: str) -> bool:
    """Say whether a process lives no more."""
    stat = Path(f"/proc/{process}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


async def test_a_program_gets_the_facts_and_no_secret(
    program: Write, tmp_path: Path, lines: list[structlog.typing.EventDict]
) -> None:
    """Environment variables say what turned; there are no arguments, no input, and nothing of the daemon's own."""
    herald = Herald("here", environment=SECRET)
    task = asyncio.create_task(herald.tell_forever())
    herald.configure(
        program("(here / 'seen').write_text(json.dumps([dict(os.environ), sys.argv[1:], sys.stdin.read()]))")
    )
    herald.tell(TURN)
    assert [line["event"] for line in await ended(lines)] == ["on_condition.ended"]
    seen, arguments, given = json.loads((tmp_path / "seen").read_text())
    assert (arguments, given) == ([], "")
    assert {name: value for name, value in seen.items() if name not in ("LC_CTYPE", "PWD")} == {
        "PATH": os.environ["PATH"],
        "SEV1PROBE_CONDITION": "blind",
        "SEV1PROBE_TURN": "raised",
        "SEV1PROBE_SURFACE": "self",
        "SEV1PROBE_TARGET": "main",
        "SEV1PROBE_VANTAGE": "here",
        "SEV1PROBE_SINCE": "2023-11-14T22:13:20Z",
        "SEV1PROBE_NOTICED": "2023-11-14T22:13:51Z",
        "SEV1PROBE_WORDS": TURN.words,
    }
    herald.close()
    task.cancel()
    await asyncio.wait({task})


async def test_turns_are_told_one_after_the_other(
    program: Write, tmp_path: Path, lines: list[structlog.typing.EventDict]
) -> None:
    """No two programs run at a time, so the end of a condition never overtakes its beginning."""
    herald = Herald("here", environment=SECRET)
    task = asyncio.create_task(herald.tell_forever())
    text = """
with (here / "told").open("a") as told:
    for _ in range(2):
        print(os.environ["SEV1PROBE_TURN"], file=told, flush=True)
        time.sleep(0.1)
"""
    herald.configure(program(text))
    herald.tell(TURN)
    herald.tell(replace(TURN, raised=False))
    await ended(lines, 2)
    assert (tmp_path / "told").read_text().split() == ["raised", "raised", "over", "over"]
    herald.close()
    task.cancel()
    await asyncio.wait({task})


async def test_a_program_that_hangs_is_killed_with_all_it_started(
    program: Write, herald: Herald, tmp_path: Path, lines: list[structlog.typing.EventDict]
) -> None:
    """It has its time and no more, and the loop turns all the while."""
    text = """
child = subprocess.Popen(["sleep", "600"])
(here / "child").write_text(str(child.pid))
time.sleep(600)
"""
    herald.configure(program(text))
    herald.tell(TURN)
    turns = 0
    while not lines:
        await asyncio.sleep(0.01)
        turns += 1
    assert turns > 20
    assert lines[0]["reason"] == "it did not end within 0.5 s and was killed"
    child = (tmp_path / "child").read_text()
    await until(lambda: is_gone(child))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sys.exit(3)", "it ended with 3"),
        (None, "it can't be started: No such file or directory"),
    ],
)
async def test_a_program_that_fails_is_said_to(
    program: Write, herald: Herald, lines: list[structlog.typing.EventDict], text: str | None, reason: str
) -> None:
    """An exit code or a program that went away is a line in the log, and the next turn is told all the same."""
    path = program(text or "")
    herald.configure(path)
    if text is None:
        path.unlink()
    for _ in range(2):
        herald.tell(TURN)
    assert [line.get("reason") for line in await ended(lines, 2)] == [reason, reason]


async def test_a_fact_that_no_environment_can_hold_ends_nothing(
    herald: Herald, program: Write, lines: list[structlog.typing.EventDict]
) -> None:
    """Whatever the words are, the daemon goes on and the next turn is told."""
    herald.configure(program(""))
    herald.tell(replace(TURN, words="a\0b"))
    herald.tell(TURN)
    first, second = await ended(lines, 2)
    assert first["reason"] == "it can't be started: embedded null byte"
    assert second["event"] == "on_condition.ended"


async def test_what_waits_is_bounded(herald: Herald, program: Write, lines: list[structlog.typing.EventDict]) -> None:
    """A flood of turns is cut off and said, and without a program none waits at all."""
    for _ in range(WAITING_MAX + 1):
        herald.tell(TURN)
    assert lines == []
    herald.configure(program("time.sleep(600)"))
    for _ in range(WAITING_MAX + 3):
        herald.tell(TURN)
    assert [line["event"] for line in lines] == ["on_condition.dropped"] * 3

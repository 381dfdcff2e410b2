"""Runs the user's own program once for each turn of a condition, so that somebody hears of it.

The program gets its facts by environment variables and nothing else: no shell, no arguments, no input, none of the
daemon's own environment, which may hold secrets. One runs at a time, in the order of the turns, for a limited time, and
on a thread of its own, so the cadence never waits for it. What it prints is dropped; how it ended is logged.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from probe.core.model import Condition
from probe.times import utc

log = structlog.get_logger("herald")

WAITING_MAX = 100
PROGRAM_S_MAX = 30.0
# What a program needs to find its tools and its way home.
INHERITED = ("HOME", "LANG", "PATH", "TZ", "USER")


class Herald:
    """Runs the program."""

    def __init__(
        self, vantage: str, *, environment: Mapping[str, str] = os.environ, program_s_max: float = PROGRAM_S_MAX
    ) -> None:
        self._vantage = vantage
        self._inherited = {name: environment[name] for name in INHERITED if name in environment}
        self._program_s_max = program_s_max
        self._program: Path | None = None
        self._waiting: deque[Condition] = deque()
        self._something = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="herald")
        self._running: subprocess.Popen[bytes] | None = None

    def configure(self, program: Path | None) -> None:
        """Run this program from now on, or none."""
        self._program = program

    def tell(self, turn: Condition) -> None:
        """Have the program run for a turn; never wait."""
        if self._program is None:
            return
        if len(self._waiting) >= WAITING_MAX:
            log.error("on_condition.dropped", target=turn.target, reason=f"{WAITING_MAX} turns wait already")
            return
        self._waiting.append(turn)
        self._something.set()

    async def tell_forever(self) -> None:
        """Run the program for what waits, one turn after the other."""
        loop = asyncio.get_running_loop()
        while True:
            await self._something.wait()
            self._something.clear()
            while self._waiting:
                turn, program = self._waiting.popleft(), self._program
                if program is None:
                    continue
                facts = {"program": str(program), "target": turn.target, "raised": turn.raised}
                if trouble := await loop.run_in_executor(self._thread, self._run, program, turn):
                    log.error("on_condition.failed", **facts, reason=trouble)
                else:
                    log.info("on_condition.ended", **facts)

    def close(self) -> None:
        """Run nothing more, and end what runs."""
        self._program = None
        self._waiting.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._running is not None:
            _kill(self._running)

    def _run(self, program: Path, turn: Condition) -> str:
        """Run it to its end, on the thread; say what was wrong, or nothing."""
        try:
            running = subprocess.Popen(  # noqa: S603 - the user's own program, named in the settings
                [program],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self._inherited | self._facts(turn),
                cwd="/",
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # The latter for a fact that no environment can hold.
            return f"it can't be started: {error.strerror if isinstance(error, OSError) else error}"
        self._running = running
        try:
            code = running.wait(self._program_s_max)
        except subprocess.TimeoutExpired:
            _kill(running)
            running.wait()
            return f"it did not end within {self._program_s_max:g} s and was killed"
        finally:
            self._running = None
        return f"it ended with {code}" if code else ""

    def _facts(self, turn: Condition) -> dict[str, str]:
        return {
            "SEV1PROBE_CONDITION": turn.condition,
            "SEV1PROBE_TURN": "raised" if turn.raised else "over",
            "SEV1PROBE_SURFACE": "self",
            "SEV1PROBE_TARGET": turn.target,
            "SEV1PROBE_VANTAGE": self._vantage,
            "SEV1PROBE_SINCE": utc(turn.since_second),
            "SEV1PROBE_NOTICED": utc(turn.noticed_second),
            "SEV1PROBE_WORDS": turn.words,
        }


def _kill(running: "subprocess.Popen[bytes]") -> None:
    """End a program and whatever it started: all of them are in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)

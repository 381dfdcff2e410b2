"""What a failed simulation says, and that what it says plays the same failure again."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# The program is given another world than the oracle, which is one way for a verdict to be wrong.
BROKEN = """
from random import Random

from sim_oracle import target_verdict, verdict, causes
from sim_run import CONTROLS, SECOND_US, Life, ScriptedLedger, Watch, seeded
from sim_time import FIRST_SECOND, HostTime, simulate
from sim_world import Calm, Sight
from probe.core.model import Cause


class Broken(Calm):
    def __init__(self, second):
        self.second = second

    def attempt(self, target, surface, second, ordinal):
        return Sight(cause=Cause.HTTP_ERROR) if second == self.second else Sight()


def test_a_broken_world(seed):
    async def scenario():
        life = Life(HostTime(), Broken(FIRST_SECOND + Random(seed).randrange(2, 50)), ScriptedLedger())
        life.start()
        await life.run_through(60.5)
        await life.stop()
        return life.view.told

    for step in simulate(scenario()):
        assert step.verdict != "unavailable", f"second {step.second}: expected available, found {step.verdict}"
"""


@pytest.mark.slow
def test_a_failure_says_how_to_play_it_again(tmp_path: Path) -> None:
    """A failed simulation names its seed, its commit and a command; the command fails at the same second."""
    shutil.copy(HERE / "conftest.py", tmp_path)
    (tmp_path / "test_broken_world.py").write_text(BROKEN)

    def run(command: str) -> str:
        done = subprocess.run(  # noqa: S602 - it is the command as a person would paste it.
            command.replace("python", shlex.quote(sys.executable), 1),
            shell=True,
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parents[1]}"},
        )
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stdout

    first = run("SIM_SEEDS=11-12 python -m pytest .")
    said = dict(re.findall(r"seed (\d+), commit \S+; again: (.+)", first))
    assert said.keys() == {"11", "12"}
    again = run(said["12"])
    wrong = r"second \d+: expected available, found unavailable"
    assert re.findall(wrong, again)[0] == re.findall(wrong, first)[-1]
    assert "seed 11" not in again

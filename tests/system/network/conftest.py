"""A few runs of experiments for all tests of this folder: they share the wall time, not the networks."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from tests.system.network.network_plan import EXPERIMENTS
    from tests.system.network.network_run import Record, run_all
    from tests.system.network.network_world import lacking
else:
    from network_plan import EXPERIMENTS
    from network_run import Record, run_all
    from network_world import lacking

AT_ONCE = 10  # daemons that two small cores run without delay


@pytest.fixture(scope="module")
def records(do_without: Callable[[str], NoReturn], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """Run the experiments and give what each ledger says, by the experiment's name."""
    if reason := lacking():
        do_without(reason)
    found: dict[str, Record] = {}
    for first in range(0, len(EXPERIMENTS), AT_ONCE):
        found |= run_all(EXPERIMENTS[first : first + AT_ONCE], tmp_path_factory.mktemp("network"))
    return found

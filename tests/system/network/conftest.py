"""One run of all experiments for all tests of this folder: they share the wall time, not the networks."""

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


@pytest.fixture(scope="module")
def records(do_without: Callable[[str], NoReturn], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """Run the experiments and give what each ledger says, by the experiment's name."""
    if reason := lacking():
        do_without(reason)
    return run_all(EXPERIMENTS, tmp_path_factory.mktemp("network"))

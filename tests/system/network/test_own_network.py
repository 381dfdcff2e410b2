"""Whose fault it was, with the fault really injected: namespaces, a router that drops, and the daemon as a process.

The truth of each experiment is written down by hand, from what was broken. It speaks of the seconds whose attempts lie
wholly within the fault, and of those that the fault can't have touched; those at the borders may be either.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.system.network.network_plan import EXPERIMENTS
    from tests.system.network.network_run import Key, Record, lateness_s
else:
    from network_plan import EXPERIMENTS
    from network_run import Key, Record, lateness_s

pytestmark = pytest.mark.slow

AVAILABLE = "available"
INCONCLUSIVE = "inconclusive"
CORROBORATED = "unavailable corroborated"
LITERAL = "unavailable literal"

SECONDS_MIN = 2  # judged within a fault, or the experiment has shown nothing
# A control that has met packet loss before says so from its second such attempt on; until then it takes the network
# for sound.
LOSS_IS_KNOWN_AFTER_S = 4.0

Truth = Mapping[str, str]  # of a target, or of "target/surface"


def all_are(verdict: str, *targets: str) -> dict[str, str]:
    """Give the truth that is the same for all these targets, `kept` and `fresh` if none is named."""
    return dict.fromkeys(targets or ("kept", "fresh"), verdict)


TRUTHS: dict[str, Truth] = {
    # Our own link and our own route: nobody else's second.
    "link-down": all_are(INCONCLUSIVE),
    "route-gone": all_are(INCONCLUSIVE),
    # Nothing comes back from the provider, while others answer.
    "blackhole": all_are(CORROBORATED),
    # Slower than the timeout, in the contract's own words; slow within it is no failure.
    "slow": {"kept/api": LITERAL, "fresh/api": LITERAL, "kept/smtp": AVAILABLE, "fresh/smtp": AVAILABLE},
    # The service answers at its other address, or over IPv4.
    "one-address-dead": all_are(AVAILABLE),
    "ipv6-dropped": all_are(AVAILABLE),
    "ipv6-rejected": all_are(AVAILABLE),
    # Large packets vanish. Messages are large on their way out, certificates on their way in; where they vanish for
    # everybody the controls meet it too.
    "mtu-outward-all": {**all_are(INCONCLUSIVE), "small": AVAILABLE},
    "mtu-outward-provider": {**all_are(CORROBORATED), "small": AVAILABLE},
    "mtu-inward-all": {"kept": AVAILABLE, "fresh": INCONCLUSIVE},
    "mtu-inward-provider": {"kept": AVAILABLE, "fresh": CORROBORATED},
    # A connection tracker that lost its memory: of all connections, or on the provider's side of the path.
    "resets-all": all_are(INCONCLUSIVE),
    "resets-provider": all_are(LITERAL),
    # Our own resolver. Who needs no look-up notices nothing.
    **{
        f"resolver-{manner}": {"named": INCONCLUSIVE, **all_are(AVAILABLE, "addressed", "kept")}
        for manner in ("silent", "refuses", "lies", "slow")
    },
    # Another resolver is asked too: it knows the one name, and confirms that the other is gone.
    "resolver-checked": {"named": INCONCLUSIVE, "gone": CORROBORATED, **all_are(AVAILABLE, "addressed", "kept")},
}


def of(truth: Truth, key: Key) -> str:
    """Return what must be judged of one surface."""
    target, surface = key
    return truth.get(f"{target}/{surface}") or truth[target]


def disagreements(record: Record, key: Key, seconds: Iterable[int], truth: str) -> list[int]:
    """Return the seconds that were judged otherwise."""
    seen = record.seen(key, list(seconds))
    assert len(seen) >= SECONDS_MIN, record.explain(key, list(seconds))
    return [second for second, verdict in seen.items() if verdict != truth]


def test_every_experiment_has_its_truth() -> None:
    """None is run and then not looked at."""
    assert {experiment.name for experiment in EXPERIMENTS} == {*TRUTHS, "loss"}


@pytest.mark.parametrize("name", TRUTHS)
def test_seconds_within_a_fault_are_judged_as_the_truth_is(records: Mapping[str, Record], name: str) -> None:
    """Verdict and basis of every surface follow from what was broken."""
    record = records[name]
    for key in record.surfaces():
        wrong = disagreements(record, key, record.within(), of(TRUTHS[name], key))
        assert not wrong, record.explain(key, wrong)


@pytest.mark.parametrize("name", [experiment.name for experiment in EXPERIMENTS])
def test_seconds_outside_a_fault_are_available_and_none_is_left_out(records: Mapping[str, Record], name: str) -> None:
    """Before the fault and after it all is well, and each second has exactly one verdict."""
    record = records[name]
    for key in record.surfaces():
        wrong = disagreements(record, key, record.outside(), AVAILABLE)
        assert not wrong, record.explain(key, wrong)
        assert {*record.outside(), *record.within()} <= record.verdicts(key).keys()


def test_with_loss_for_everybody_nothing_is_unavailable(records: Mapping[str, Record]) -> None:
    """Attempts get through or not, and no control that lost packets itself vouches for the network."""
    record = records["loss"]
    seconds = list(record.within(LOSS_IS_KNOWN_AFTER_S))
    for key in record.surfaces():
        wrong = [second for second, verdict in record.seen(key, seconds).items() if verdict.startswith("unavailable")]
        assert not wrong, record.explain(key, wrong)
    within = [row for row in record.controls if row["second"] in record.within()]
    assert any(row["cause"] == "lossy_network" for row in within), "no control met any loss"


def test_an_address_that_was_passed_over_stands_in_the_record(records: Mapping[str, Record]) -> None:
    """A dead address costs no second, and is not hidden either."""
    for name, address in (("one-address-dead", "10.1.0.2"), ("ipv6-dropped", "2001:db8:1::2")):
        record = records[name]
        said = [row["reply"] for row in record.made(("fresh", "smtp")) if row["second"] in record.within()]
        assert any(re.search(rf"passed over: {address}: ", reply) for reply in said), said


def test_what_resolvers_said_of_a_name_stands_in_the_record(records: Mapping[str, Record]) -> None:
    """Our own resolver's word alone, its word against another's, and the word of both."""
    for name, target, words in (
        ("resolver-lies", "named", "provider.test does not exist, says our own resolver alone; name others"),
        ("resolver-checked", "named", "our resolver says that provider.test does not exist, 10.1.0.1 has an address"),
        ("resolver-checked", "gone", "gone.test does not exist, say our own resolver and 10.1.0.1"),
    ):
        record = records[name]
        for surface in ("api", "smtp"):
            made = [row for row in record.made((target, surface)) if row["second"] in record.within()]
            said = {row["reply"] for row in made if row["second"] not in record.stalled()}
            assert all(reply.startswith(words) for reply in said), said


def test_a_silent_resolver_delays_no_attempt(records: Mapping[str, Record]) -> None:
    """Whoever needs no look-up is attempted once in each second, none of them late, while others wait for one."""
    for name in ("resolver-silent", "resolver-slow"):
        record = records[name]
        for target in ("addressed", "kept", "named"):
            for surface in ("api", "smtp"):
                made = [row for row in record.made((target, surface)) if row["second"] in record.within()]
                assert [row["second"] for row in made] == list(record.within())
                assert not [row for row in made if row["second"] not in record.stalled() and lateness_s(row)]

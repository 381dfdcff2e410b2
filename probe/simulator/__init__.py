"""A provider on loopback that can be told to fail, for the demo, the tests and the users' own drills."""

from probe.simulator.desk import Received, Tally
from probe.simulator.faults import FaultKind, SimulatedFault, TlsAlert
from probe.simulator.options import ProviderOptions, TlsMode
from probe.simulator.provider import SimulatedProvider
from probe.simulator.run import run_simulator, serve
from probe.simulator.scenario import Scenario, ScenarioError, Window, load_scenario, parse_scenario

__all__ = [
    "FaultKind",
    "ProviderOptions",
    "Received",
    "Scenario",
    "ScenarioError",
    "SimulatedFault",
    "SimulatedProvider",
    "Tally",
    "TlsAlert",
    "TlsMode",
    "Window",
    "load_scenario",
    "parse_scenario",
    "run_simulator",
    "serve",
]

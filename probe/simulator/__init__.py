"""A provider on loopback that can be told to fail, for the demo, the tests and the users' own drills."""

from probe.simulator.desk import Received, Tally
from probe.simulator.faults import FaultKind, SimulatedFault, TlsAlert
from probe.simulator.options import ProviderOptions, TlsMode
from probe.simulator.page import Impact, Notice, SimulatedPage
from probe.simulator.provider import SimulatedProvider
from probe.simulator.run import run_simulator, serve
from probe.simulator.scenario import NoticeWindow, Scenario, ScenarioError, Window, load_scenario, parse_scenario

__all__ = [
    "FaultKind",
    "Impact",
    "Notice",
    "NoticeWindow",
    "ProviderOptions",
    "Received",
    "Scenario",
    "ScenarioError",
    "SimulatedFault",
    "SimulatedPage",
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

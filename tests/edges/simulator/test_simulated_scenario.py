"""The scenario file, what it plays, and the simulator as a command."""

import asyncio
import ssl
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from probe.core.model import Phase, Surface
from probe.simulator import (
    FaultKind,
    ProviderOptions,
    Scenario,
    ScenarioError,
    SimulatedFault,
    SimulatedProvider,
    TlsMode,
    Window,
    load_scenario,
    parse_scenario,
    run_simulator,
)
from probe.simulator.faults import RULES, describe

Dial = Callable[..., Awaitable[Any]]
ROOT = Path(__file__).parents[3]


def test_the_example_can_be_played() -> None:
    """The example under config/ is read, and its windows are what they say."""
    scenario = load_scenario(ROOT / "config" / "scenario.example.yaml")
    assert scenario.seed == 7
    bad_second = SimulatedFault(kind=FaultKind.STATUS, phase=Phase.FIRST_BYTE, status=503)
    assert scenario.api[0] == Window(at_s=30, for_s=1, fault=bad_second)
    assert scenario.api[1].fault.body == b'{"errors": [{"message": "Server resources unavailable", "code": "1502"}]}'
    assert scenario.smtp[3].fault.by_s == 1.5
    assert len({window.fault.kind for window in (*scenario.api, *scenario.smtp)}) >= 10


def test_the_documentation_names_every_fault_and_parameter() -> None:
    """docs/simulate.md has a row for each fault of each surface, with all its parameters and phases."""
    text = (ROOT / "docs" / "simulate.md").read_text(encoding="utf-8")
    for surface, rules in RULES.items():
        for kind, rule in rules.items():
            rows = [line for line in text.splitlines() if line.startswith(f"| `{kind}` | {surface} |")]
            assert len(rows) == 1, (surface, kind)
            for parameter in rule.parameters:
                assert f"`{parameter}`" in rows[0] or parameter in ("phase", "fraction"), (surface, kind, parameter)
            for phase in rule.phases if rule.phase_is_free else ():
                assert phase in rows[0], (surface, kind, phase)
            assert ("not `fraction`" in rows[0]) == ("fraction" not in rule.parameters), (surface, kind)


def test_an_empty_scenario_is_a_healthy_provider() -> None:
    """Nothing in the file means that nothing goes wrong."""
    assert parse_scenario("# nothing\n") == Scenario()


def test_every_error_is_told_at_once() -> None:
    """All problems come together, each with file, line, field, what was found and what is expected."""
    text = """\
seed: -1
speed: 2
api:
  - {at: 5, for: 0s, do: status, status: 99}
  - {at: 1m, do: reply}
  - {do: slow, at: 1m, by: soon, fraction: 0}
  - just text
  - {at: 2m, at: 3m, do: refuse, fraction: 0.5}
  - {at: 4m, for: 10s, do: html, headers: {Retry-After: 5}}
  - {at: 5m, for: 10s, do: silent, phase: body, taken: 1}
  - {at: 6m, for: 10s, do: stall}
  - {at: 6m5s, do: stall}
  - {at: 7m, do: stall}
smtp:
  - {at: 1s, for: 1s, do: reply, phase: helo}
  - {at: 2s, for: 1s, do: reply, reply: nonsense}
  - {at: 3s, for: 1s, do: garbage, size: 0}
  - {at: 4s, for: 1s, do: tls_alert, alert: red}
  - {at: 5s, for: 1s}
"""
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text, "drill.yaml")
    api_kinds, smtp_kinds = ", ".join(RULES[Surface.API]), ", ".join(RULES[Surface.SMTP])
    duration = "a duration such as 250ms, 12s or 1m30s"
    smtp_phases = "final, banner, ehlo, starttls, auth, mail, rcpt, data"
    assert str(caught.value).splitlines() == [
        "drill.yaml:1: seed: found '-1', expected a whole number from 0 to 9223372036854775807",
        "drill.yaml:2: speed: found an unknown key, expected one of seed, api, smtp, page",
        f"drill.yaml:4: api[0].at: found '5', expected {duration}",
        f"drill.yaml:4: api[0].for: found '0s', expected {duration}, above 0",
        "drill.yaml:4: api[0].status: found '99', expected a whole number from 200 to 599",
        f"drill.yaml:5: api[1].do: found 'reply', expected one of {api_kinds}",
        f"drill.yaml:6: api[2].by: found 'soon', expected {duration}, above 0",
        "drill.yaml:6: api[2].fraction: found '0', expected a number above 0 and at most 1",
        "drill.yaml:7: api[3]: found 'just text', expected a mapping with at, for, do and what the fault needs",
        "drill.yaml:8: api[4].at: found the same key again, expected each key once",
        "drill.yaml:8: api[4].fraction: found an unknown key, expected one of at, for, do",
        "drill.yaml:9: api[5].headers: found a mapping, expected a mapping of header names to texts of one line"
        " (quote numbers)",
        "drill.yaml:10: api[6].phase: found 'body', expected one of first_byte, connect, tls",
        "drill.yaml:10: api[6].taken: found '1', expected true or false",
        "drill.yaml:12: api[8].at: found 6m5s, expected a start after the window before it, which ends at 6m10s",
        "drill.yaml:13: api[9].at: found 7m, expected a start after the window before it, which ends never",
        "drill.yaml:15: smtp[0].reply: found nothing, expected a value: reply needs it",
        f"drill.yaml:15: smtp[0].phase: found 'helo', expected one of {smtp_phases}",
        "drill.yaml:16: smtp[1].reply: found 'nonsense', expected an SMTP reply such as '451 4.3.0 transaction failed'"
        " (quoted)",
        "drill.yaml:17: smtp[2].size: found '0', expected a whole number from 1 to 16777216",
        "drill.yaml:18: smtp[3].alert: found 'red', expected one of handshake_failure,"
        " protocol_version, internal_error",
        f"drill.yaml:19: smtp[4].do: found nothing, expected one of {smtp_kinds}",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("api: [", "drill.yaml:1:7: is not YAML: expected the node content, but found '<stream end>'"),
        ("- a", "drill.yaml:1: scenario: found a list, expected a mapping with seed, api, smtp"),
        ("api: 3", "drill.yaml:1: api: found '3', expected a list of at most 10000 windows"),
        ("a: 1\n" * 300_000, "drill.yaml: is larger than 1048576 bytes"),
        ("[" * 600, "drill.yaml: is nested too deeply"),
        ("{[a]: 1}", "drill.yaml:1: a list: found an unknown key, expected one of seed, api, smtp, page"),
        ("api: [{at: 1s, do: html, body: !!python/name:os.system x}]", "drill.yaml:1:32: is not YAML"),
    ],
)
def test_a_file_that_is_no_scenario_is_told_in_a_sentence(text: str, message: str) -> None:
    """Broken YAML, another shape, too much of it, and tags that would run code are refused without a traceback."""
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text, "drill.yaml")
    assert str(caught.value).startswith(message)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """A path that can't be read is named."""
    with pytest.raises(ScenarioError, match=r"none\.yaml: can't be read: No such file or directory"):
        load_scenario(tmp_path / "none.yaml")


def test_every_fault_can_be_written_and_described() -> None:
    """Each kind of each surface has a scenario that is read, and words for people."""
    needed = {"status": "503", "reply": "'451 4.3.0 x'", "by": "1s"}
    for surface, rules in RULES.items():
        for kind, rule in rules.items():
            more = "".join(f", {name}: {needed[name]}" for name in rule.required)
            scenario = parse_scenario(f"{surface}: [{{at: 0s, do: {kind}{more}}}]")
            (window,) = scenario.windows_of(surface)
            assert (window.fault.kind, window.fault.phase, window.for_s) == (kind, rule.phases[0], None)
            assert describe(window.fault).startswith(kind.value.replace("_", " "))


async def test_windows_begin_and_end_on_time_and_together(dial: Dial) -> None:
    """Both surfaces follow their own windows, each turn is told, and the order is that of the file."""
    scenario = parse_scenario("""
api: [{at: 20ms, for: 20ms, do: refuse}, {at: 60ms, do: html}]
smtp: [{at: 0s, for: 80ms, do: reply, phase: banner, reply: "421 4.4.5 Service unavailable"}]
""")
    turns: list[tuple[Surface, str]] = []
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    start = loop.time()

    def turn(surface: Surface, fault: SimulatedFault | None) -> None:
        turns.append((surface, fault.kind if fault is not None else "healthy"))
        if len(turns) == 5:
            done.set()

    async with SimulatedProvider(ProviderOptions(), scenario, on_turn=turn) as provider:
        await asyncio.sleep(0)
        assert await (await dial(provider.smtp_port)).rest() == b"421 4.4.5 Service unavailable\r\n"
        await asyncio.wait_for(done.wait(), 2)
        assert loop.time() - start >= 0.075
        assert (await (await dial(provider.smtp_port)).reply())[:3] == "220"
        await dial(provider.api_port)
    assert [kind for surface, kind in turns if surface is Surface.API] == ["refuse", "healthy", "html"]
    assert [kind for surface, kind in turns if surface is Surface.SMTP] == ["reply", "healthy"]


async def test_control_by_hand_goes_before_the_scenario() -> None:
    """A surface that was set by hand does not follow the scenario any more; the other one does."""
    scenario = parse_scenario("api: [{at: 20ms, do: html}]\nsmtp: [{at: 30ms, do: refuse}]")
    turned = asyncio.Event()
    async with SimulatedProvider(scenario=scenario, on_turn=lambda surface, _: turned.set()) as provider:
        provider.set(Surface.API, SimulatedFault(kind=FaultKind.SILENT))
        provider.clear(Surface.API)
        turned.clear()
        await asyncio.wait_for(turned.wait(), 2)
        assert provider.fault(Surface.API) is None
        assert provider.fault(Surface.SMTP) is not None


async def test_the_simulator_says_where_it_is_and_never_the_key(tmp_path: Path, dial: Dial) -> None:
    """Addresses, files and turns are announced; the key is in a private file, the same in the next run."""
    path = tmp_path / "drill.yaml"
    path.write_text("smtp: [{at: 10ms, do: close_after_banner}]", encoding="utf-8")
    keys = []
    for _ in range(2):
        said: list[str] = []
        turned = asyncio.Event()

        def announce(line: str, said: list[str] = said, turned: asyncio.Event = turned) -> None:
            said.append(line)
            if "close after banner" in line:
                turned.set()

        task = asyncio.create_task(run_simulator(path, "127.0.0.1", 0, 0, tmp_path / "run", announce))
        await asyncio.wait_for(turned.wait(), 2)
        key_file = tmp_path / "run" / "api.key"
        keys.append(key_file.read_text(encoding="ascii").strip())
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
        assert keys[0] not in "".join(said)
        context = ssl.create_default_context(cafile=str(tmp_path / "run" / "ca.pem"))
        port = int(said[0].partition("127.0.0.1:")[2].partition("/")[0])
        dialogue = await dial(port, context)
        await dialogue.say("GET /api/v1/transmissions HTTP/1.1", "Connection: close", "")
        assert (await dialogue.rest()).startswith(b"HTTP/1.1 405 ")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(ConnectionRefusedError):
            await dial(port)
    assert keys[0] == keys[1]


async def test_a_port_that_is_taken_is_an_error_at_the_start() -> None:
    """The simulator does not start on a port that somebody listens on, and leaves nothing open."""
    async with SimulatedProvider(ProviderOptions(smtp_tls=TlsMode.NONE)) as provider:
        with pytest.raises(OSError, match="in use"):
            await SimulatedProvider(ProviderOptions(smtp_port=provider.smtp_port)).__aenter__()

"""The rules of the house, read from the source.

Each rule is a plain function from a parsed module to the breaches found in it; one test holds the rule over the tree,
another shows a breach to the rule, so that no rule can pass by seeing nothing. Parts that do not exist yet are no
breach.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FUNCTION_LINES_MAX = 70

EDGES = frozenset({"surfaces", "ledger", "metrics", "web", "notify", "pages", "simulator", "issues", "cases"})
LEAVES = frozenset({"settings", "adjtimex", "clock", "journal", "log", "service_zones", "systemd", "times", "version"})
# The second loop, in several modules, and what builds its parts.
RUNNER = frozenset(
    {
        "archive",
        "casebook",
        "casework",
        "runner",
        "control_room",
        "flight",
        "herald",
        "issuebook",
        "lapsebook",
        "lanes",
        "messenger",
        "monthbook",
        "not_made",
        "plan",
        "sheets",
        "teller",
        "timekeeper",
        "view",
        "vigil",
        "workshop",
    }
)
# From the rules outward. A part may import what stands before it; parts of one rank only where SAME_RANK says so.
# A module of probe/ that has no name here belongs to the command line, and nothing further in may import it.
CORE_RANK, LEAF_RANK, EDGE_RANK, RUNNER_RANK, APP_RANK, COMMAND_LINE_RANK = range(6)
RANKS = {
    "core": CORE_RANK,
    **dict.fromkeys(LEAVES, LEAF_RANK),
    **dict.fromkeys(EDGES, EDGE_RANK),
    **dict.fromkeys(RUNNER, RUNNER_RANK),
    "app": APP_RANK,
    "__main__": COMMAND_LINE_RANK,
}
SAME_RANK = frozenset({LEAF_RANK, RUNNER_RANK, COMMAND_LINE_RANK})

# Standard library that is values and functions only: no clock, no input or output, no randomness, no environment.
CORE_MAY_IMPORT = frozenset(
    {
        "bisect",
        "collections",
        "dataclasses",
        "datetime",
        "decimal",
        "enum",
        "errno",
        "fractions",
        "functools",
        "hashlib",
        "heapq",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
        "string",
        "types",
        "typing",
    }
)
READS_TIME = frozenset({"clock", "simulator"})
CLOCK_CALLS = frozenset({"now", "utcnow", "today"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One parsed source file. `part` is its part of the program: "core", "ledger", "app" and so on."""

    name: str
    part: str
    tree: ast.Module

    @classmethod
    def parse(cls, source: str, name: str) -> "Module":
        """Parse the source of a module with a dotted name."""
        part = [*name.split("."), ""][1]
        return cls(name=name, part=part, tree=ast.parse(source))

    @property
    def rank(self) -> int:
        """Say how far out the module stands; the package's own `__init__` is further in than all."""
        return rank_of(self.part)

    def imports(self) -> Iterator[tuple[int, str]]:
        """List line and dotted name of everything imported, `from a import b` as `a.b`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = "." * node.level + (node.module or "")
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def rank_of(part: str) -> int:
    """Give the rank of a part."""
    return -1 if part == "" else RANKS.get(part, COMMAND_LINE_RANK)


def modules_under(folder: str) -> list[Module]:
    """Parse all source files under a folder of the checkout."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    names = [path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in paths]
    return [
        Module.parse(path.read_text(encoding="utf-8"), name.removesuffix(".__init__"))
        for path, name in zip(paths, names, strict=True)
    ]


def part_imported(imported: str) -> str | None:
    """Give the part of the program that an import reaches, "" for the package itself, None for a library."""
    package, _, rest = imported.partition(".")
    if package != "probe":
        return None
    part = rest.partition(".")[0]
    source = ROOT / "probe" / part
    known = part in RANKS or source.is_dir() or source.with_suffix(".py").exists()
    return part if known else ""


def imports_outward(module: Module) -> Iterator[str]:
    """Imports run one way: __main__ -> app -> runner -> edges -> leaves -> core, and edges never import each other."""
    for line, imported in module.imports():
        if imported.startswith("."):
            yield f"{line}: write the whole name instead of {imported}"
            continue
        part = part_imported(imported)
        if part is None or part == module.part:
            continue
        rank = rank_of(part)
        if rank > module.rank or (rank == module.rank and rank not in SAME_RANK):
            yield f"{line}: may not import {imported}"


def impure_imports(module: Module) -> Iterator[str]:
    """The core imports only itself and plain values of the standard library."""
    for line, imported in module.imports() if module.part == "core" else ():
        if part_imported(imported) is None and imported.partition(".")[0] not in CORE_MAY_IMPORT:
            yield f"{line}: the core may not import {imported}"


def asynchronous(module: Module) -> Iterator[str]:
    """Nothing in the core is asynchronous."""
    kinds = ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await
    for node in ast.walk(module.tree) if module.part == "core" else ():
        if isinstance(node, kinds) or (isinstance(node, ast.comprehension) and node.is_async):
            yield f"{getattr(node, 'lineno', '?')}: the core may not wait"


def time_reads(module: Module) -> Iterator[str]:
    """Only the clock reads time; the simulator is a program of its own and may too."""
    if module.part in READS_TIME:
        return
    for line, imported in module.imports():
        if imported.partition(".")[0] == "time":
            yield f"{line}: ask probe.clock instead of {imported}"
    for node in ast.walk(module.tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCK_CALLS):
            continue
        owner = ast.unparse(node.func.value)
        if owner.rpartition(".")[2] in {"datetime", "date"}:
            yield f"{node.lineno}: ask probe.clock instead of {owner}.{node.func.attr}()"


def long_functions(module: Module) -> Iterator[str]:
    """A function fits on a screen."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{node.lineno}: {node.name} has {lines} lines, at most {FUNCTION_LINES_MAX} are allowed"


def prints(module: Module) -> Iterator[str]:
    """Only the command line prints; the daemon logs."""
    if module.rank == COMMAND_LINE_RANK:
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield f"{node.lineno}: print() is for the command line"


def undescribed_tests(module: Module) -> Iterator[str]:
    """Every test says in one sentence what holds."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            said = ast.get_docstring(node) or ""
            if not said.splitlines() or not said.splitlines()[0].rstrip().endswith("."):
                yield f"{node.lineno}: {node.name} needs a docstring that is a sentence"


Rule = Callable[[Module], Iterator[str]]
RULES_OF_THE_PROGRAM: list[Rule] = [imports_outward, impure_imports, asynchronous, time_reads, long_functions, prints]
RULES_OF_THE_TESTS: list[Rule] = [long_functions, undescribed_tests]


def breaches(rule: Rule, modules: list[Module]) -> list[str]:
    """List all breaches of a rule, each with its place."""
    return [f"{module.name}:{breach}" for module in modules for breach in rule(module)]


@pytest.mark.parametrize("rule", RULES_OF_THE_PROGRAM, ids=lambda rule: rule.__name__)
def test_the_program_keeps_the_rules_of_the_house(rule: Rule) -> None:
    """No module of the program breaks the rule."""
    modules = modules_under("probe")
    assert {"core", "settings"} & {module.part for module in modules}
    assert breaches(rule, modules) == [], rule.__doc__


@pytest.mark.parametrize("rule", RULES_OF_THE_TESTS, ids=lambda rule: rule.__name__)
def test_the_tests_keep_the_rules_of_the_house(rule: Rule) -> None:
    """No test breaks the rule."""
    assert breaches(rule, modules_under("tests")) == [], rule.__doc__


LONG = "def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX
FITTING = "def f():\n" + "    x = 1\n" * (FUNCTION_LINES_MAX - 1)


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        (imports_outward, "probe.core.engine", "from probe.settings import load"),
        (imports_outward, "probe.core.engine", "import probe.clock"),
        (imports_outward, "probe.core.engine", "def f():\n    from probe import log"),
        (imports_outward, "probe.core.engine", "from . import model"),
        (imports_outward, "probe.clock", "from probe.ledger.store import Store"),
        (imports_outward, "probe.surfaces.api", "from probe.metrics import Metrics"),
        (imports_outward, "probe.web", "import probe.ledger.export"),
        (imports_outward, "probe.ledger.store", "from probe import runner"),
        (imports_outward, "probe.web.server", "from probe.view import View"),
        (imports_outward, "probe.runner", "from probe.app import App"),
        (imports_outward, "probe.app", "from probe import __main__"),
        (imports_outward, "probe", "from probe.core import model"),
        (impure_imports, "probe.core.engine", "import asyncio"),
        (impure_imports, "probe.core.engine", "from time import time"),
        (impure_imports, "probe.core.engine", "from pathlib import Path"),
        (impure_imports, "probe.core.engine", "import structlog"),
        (asynchronous, "probe.core.engine", "async def f(): pass"),
        (asynchronous, "probe.core.engine", "x = [a async for a in b]"),
        (time_reads, "probe.runner", "import time"),
        (time_reads, "probe.runner", "from time import monotonic"),
        (time_reads, "probe.runner", "import datetime\ndatetime.datetime.now(datetime.UTC)"),
        (time_reads, "probe.ledger.store", "from datetime import datetime\ndatetime.utcnow()"),
        (time_reads, "probe.ledger.store", "from datetime import date\ndate.today()"),
        (long_functions, "probe.runner", LONG),
        (long_functions, "probe.runner", "class A:\n" + "    async " + LONG.replace("\n", "\n    ").rstrip()),
        (prints, "probe.runner", "print('x')"),
        (undescribed_tests, "tests.test_x", "def test_x():\n    assert f()"),
        (undescribed_tests, "tests.test_x", "class TestX:\n    async def test_x(self):\n        'no sentence'"),
    ],
)
def test_a_breach_of_the_rules_is_seen(rule: Rule, name: str, source: str) -> None:
    """The rule finds the one breach that it is shown."""
    assert len(list(rule(Module.parse(source, name)))) == 1


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        (imports_outward, "probe.core.engine", "from probe.core.model import Step"),
        (imports_outward, "probe.settings.load", "from probe.core import model\nfrom probe import log"),
        (imports_outward, "probe.ledger.store", "from probe.ledger import chain\nfrom probe import __version__, clock"),
        (imports_outward, "probe.runner", "from probe import ledger, surfaces, clock\nimport aiohttp"),
        (imports_outward, "probe.__main__", "from probe.app import App\nfrom probe.no_such_module import x"),
        (impure_imports, "probe.core.engine", "from collections.abc import Iterable\nfrom probe.core import model"),
        (impure_imports, "probe.runner", "import asyncio"),
        (asynchronous, "probe.runner", "async def f(): await g()"),
        (time_reads, "probe.clock", "import time\ntime.time()"),
        (time_reads, "probe.simulator.desk", "import time\ntime.monotonic()"),
        (
            time_reads,
            "probe.core.engine",
            "from datetime import datetime, time\ndatetime.fromtimestamp(0)\nclock.now()",
        ),
        (long_functions, "probe.runner", FITTING),
        (prints, "probe.__main__", "print('x')"),
        (prints, "probe.runner", "console.print('x')"),
        (undescribed_tests, "tests.test_x", "def test_x():\n    'It holds.'"),
    ],
)
def test_what_the_rules_allow_is_no_breach(rule: Rule, name: str, source: str) -> None:
    """The rule is silent about what the house allows."""
    assert list(rule(Module.parse(source, name))) == []

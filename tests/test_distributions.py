"""Whose a library's leak is: the distribution that installed the file, with its version."""

import dataclasses
import json
import platform
import sys
from pathlib import Path

import anyio.to_thread
import jsonschema
import pytest

import pytest_taskleak.report
from pytest_taskleak import distributions, report
from pytest_taskleak.leak import Leak
from pytest_taskleak.places import Places

LIBRARY = """\
import asyncio


async def poll():
    await asyncio.sleep(3600)


def begin():
    asyncio.create_task(poll())
"""

TESTS = """
    import sys
    sys.path.insert(0, {folder!r})
    import library

    async def test_begins():
        asyncio.get_running_loop().call_soon(library.begin)
        await asyncio.sleep(0.01)
"""


@pytest.fixture(autouse=True)
def nothing_is_known_of_other_tests():
    known = (distributions.distribution_of, distributions.checkout_of, distributions._checkouts)
    for function in known:
        function.cache_clear()
    yield
    for function in known:
        function.cache_clear()


def install(folder, name, version, *files, **metadata):
    """Put a distribution into a folder: its files, and its metadata by their names with `_` for `.`."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    texts = {"RECORD": "".join(f"{file},sha256=x,1\n" for file in files)} if files else {}
    for file, text in (texts | {key.replace("_json", ".json"): text for key, text in metadata.items()}).items():
        (info / file.replace("level_txt", "level.txt")).write_text(text, encoding="utf-8")
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("", encoding="utf-8")
    return folder


# -- which distribution brought a file


def test_a_real_package_is_told_with_the_version_that_is_installed():
    name, version = distributions.distribution_of(anyio.to_thread.__file__)
    assert (name, version) == ("anyio", anyio_version())


def anyio_version():
    import importlib.metadata  # noqa: PLC0415 - the answer is what is tested

    return importlib.metadata.version("anyio")


@pytest.mark.parametrize("installed", ["site-packages", "dist-packages"])
def test_of_packages_that_several_distributions_share_it_is_the_one_that_brought_the_file(tmp_path, installed):
    folder = tmp_path / installed
    install(folder, "shared", "9", "shared/other.py")
    install(folder, "shared-core", "1.2", "shared/core.py")
    install(folder, "Shared.Extra", "3", "shared/extra/__init__.py", "shared/extra/more.py")
    assert distributions.distribution_of(str(folder / "shared/core.py")) == ("shared-core", "1.2")
    assert distributions.distribution_of(str(folder / "shared/extra/more.py")) == ("Shared.Extra", "3")
    assert distributions.distribution_of(str(folder / "shared/extr")) is None


def test_a_module_outside_of_any_package_is_found_and_an_unknown_file_is_not(tmp_path):
    folder = install(tmp_path / "site-packages", "six-like", "1", "sixish.py")
    assert distributions.distribution_of(str(folder / "sixish.py")) == ("six-like", "1")
    assert distributions.distribution_of(str(folder / "copied.py")) is None
    assert distributions.distribution_of(str(tmp_path / "elsewhere.py")) is None
    assert distributions.distribution_of("<frozen importlib._bootstrap>") is None


def test_without_a_record_the_names_of_packages_tell_where_they_are_nobody_elses(tmp_path):
    folder = install(tmp_path / "dist-packages", "python3-apt", "2", top_level_txt="apt\naptsources\n")
    assert distributions.distribution_of(str(folder / "apt/cache.py")) == ("python3-apt", "2")
    install(folder, "another", "1", top_level_txt="apt\n")
    assert distributions.distribution_of(str(folder / "apt/package.py")) is None


def test_broken_metadata_is_passed_over(tmp_path):
    folder = install(tmp_path / "site-packages", "whole", "1", "whole/it.py")
    broken = folder / "broken-1.dist-info"
    broken.mkdir()
    (broken / "RECORD").write_bytes(b"\xff\xfewhole/it.py,,\n")
    assert distributions.distribution_of(str(folder / "whole/it.py")) == ("whole", "1")


def test_what_is_installed_from_its_folder_is_known_by_it(tmp_path, monkeypatch):
    checkout, inner = tmp_path / "checkout", tmp_path / "checkout" / "inner"
    for number, folder in enumerate((checkout, inner)):
        source = {"url": folder.as_uri(), "dir_info": {"editable": True}}
        install(tmp_path / "site-packages", f"it-{number}", "0.1", direct_url_json=json.dumps(source))
    install(tmp_path / "site-packages", "copied", "1", direct_url_json='{"url": "file:///copied", "dir_info": {}}')
    install(tmp_path / "site-packages", "broken", "1", direct_url_json="{")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    assert distributions.checkout_of(str(checkout / "src/it.py"))[:2] == ("it-0", "0.1")
    assert distributions.checkout_of(str(inner / "it.py"))[:2] == ("it-1", "0.1")
    assert distributions.checkout_of(str(tmp_path / "it.py")) is None


# -- whose a leak is


@pytest.fixture
def places(tmp_path):
    return Places(tmp_path / "project")


@pytest.fixture
def at(tmp_path, places):
    """A line in a file of the project, or of `site-packages` below it."""
    folder = tmp_path / "project" / "venv" / "site-packages"
    install(folder, "lib", "1.0", "lib/it.py")
    install(folder, "anyio", "4", "anyio/_backends/_asyncio.py")
    return lambda name: places.line(str(folder / name if "/" in name else tmp_path / "project" / name), 1)


def test_a_leak_is_of_the_library_that_started_it_and_not_of_what_runs_others_work(places, at):
    host, library = at("anyio/_backends/_asyncio.py"), at("lib/it.py")
    standard = places.line(json.__file__, 1)
    assert places.library(standard, host, library) == ("lib", "1.0")
    assert places.library(standard, host) == ("anyio", "4")
    assert places.library(standard) == ("Python", platform.python_version())
    assert places.library() is None


def test_it_is_nobodys_where_a_line_of_the_projects_own_took_part_or_the_library_is_unknown(places, at):
    assert places.library(at("lib/it.py"), at("mine.py")) is None
    assert places.library(at("copied/it.py")) is None
    assert places.library(at("copied/it.py"), at("lib/it.py")) is None


def test_what_a_compiled_library_calls_its_files_is_not_the_projects_own(tmp_path, places, monkeypatch):
    """Cython names them relative to where they were compiled."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").touch()
    assert not places.own("aiohttp/_websocket/reader_c.py")
    assert places.own("script.py")


def test_what_is_installed_from_a_folder_outside_of_the_project_is_a_library(tmp_path, monkeypatch):
    other, mine = tmp_path / "other", tmp_path / "mine"
    for folder in (other, mine):
        source = {"url": folder.as_uri(), "dir_info": {"editable": True}}
        install(tmp_path / "site-packages", folder.name, "0.1", direct_url_json=json.dumps(source))
    monkeypatch.syspath_prepend(tmp_path / "site-packages")

    def library(root, path, **whole):
        places = Places(root, **whole)
        return places.library(places.line(str(path), 1))

    assert library(mine, other / "it.py") == ("other", "0.1")
    assert library(mine, mine / "it.py") is None
    assert library(mine / "tests", mine / "src/it.py") is None  # the tests alone are below the root
    assert library(mine, tmp_path / "script.py") is None
    assert library(mine, other / "it.py", whole=False) is None


# -- what people read


@pytest.fixture
def leaks(project, monkeypatch):
    """Run a project in which a library leaks; its output, and what was written to files."""
    folder = project.pytester.path / "site-packages"
    install(folder, "Poll.Lib", "2.1", "library.py")
    project.write("site-packages/library.py", LIBRARY, prelude="")
    project.write(source=TESTS.format(folder=str(folder)))
    monkeypatch.delitem(sys.modules, "library", raising=False)
    monkeypatch.setattr(sys, "path", sys.path[:])

    def leaks(*args):
        result = project.run("--taskleak-report=json:it.json", "--taskleak-report=md:it.md", *args)
        sys.modules.pop("library", None)
        result.assert_outcomes(failed=1)
        document = json.loads((project.pytester.path / "it.json").read_text(encoding="utf-8"))
        return result.stdout.str(), document, (project.pytester.path / "it.md").read_text(encoding="utf-8")

    return leaks


def test_a_leak_of_a_library_names_it_with_its_version_in_every_report(leaks):
    text, document, markdown = leaks()
    assert "1 task outlived `test_begins` (call), in a library (Poll.Lib 2.1)" in text
    assert "`test_begins`, sleeps until +3600 s  [Poll.Lib 2.1]" in text
    assert "sleeps until \\+3600 s (in Poll.Lib 2.1)" in markdown
    (leak,), (cause,) = document["leaks"], document["causes"]
    assert leak["distribution"] == cause["distribution"] == {"name": "Poll.Lib", "version": "2.1"}
    assert leak["library"] is cause["library"] is True
    schema = Path(pytest_taskleak.report.__file__).parent / "schema.json"
    jsonschema.validate(document, json.loads(schema.read_text(encoding="utf-8")))


def test_it_travels_from_a_worker(leaks):
    assert "[Poll.Lib 2.1]" in leaks("-n", "1")[0]


@pytest.fixture
def leak(places, at):
    waits = (at("lib/it.py"), places.line(json.__file__, 1))
    return Leak("pending", "", "it", "sleeps", "", "End it.", "", waits, (), (), "test", "test_it", "", "", "call")


def test_the_cause_is_the_same_in_each_version_of_the_library(leak):
    told = [dataclasses.replace(leak, distribution=it) for it in (None, ("lib", "1.0"), ("lib", "2.0"))]
    assert len({it.fingerprint for it in told}) == 1
    assert [it.library for it in told] == ["", "lib 1.0", "lib 2.0"]
    assert all(it.in_library for it in told)


def test_the_words_survive_the_way_through_json(leak):
    for it in (leak, dataclasses.replace(leak, distribution=("lib", "1.0"))):
        assert Leak.from_json(json.loads(json.dumps(it.to_json()))) == it


def test_a_library_that_nobody_knows_and_the_standard_library_are_told_as_such(places, leak):
    assert "in a library\n" in report.details([leak], verbosity=0, root="")
    standard = (places.line(json.__file__, 1),)
    mine = dataclasses.replace(leak, waits=standard, distribution=places.library(*standard))
    assert mine.library == f"json, Python {platform.python_version()}"

"""Runs the examples of the README and of docstrings as tests."""

from doctest import ELLIPSIS

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser

_readme = Sybil(parsers=[PythonCodeBlockParser()], patterns=["README.md"])
_docstrings = Sybil(
    parsers=[DocTestParser(optionflags=ELLIPSIS)], patterns=["pytest_taskleak/*.py", "reference_queue/*.py"]
)
pytest_collect_file = (_readme + _docstrings).pytest()

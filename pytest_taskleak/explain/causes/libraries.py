"""What mends a leak of a library's, by the functions of the library in which it waits or that made it.

The functions are those of the versions named; where a later version calls them otherwise, the sentence for what is
waited for is given instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_taskleak.explain.causes.row import Row

LIBRARIES: dict[str, Row] = {}

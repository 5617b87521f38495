"""What an object keeps in its attributes, asked for so that nothing of the user's is called."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator


def attributes(thing: object) -> Iterator[tuple[str, object]]:
    """The attributes of an object's own, in its dict and its slots: no property and no `__getattr__` is called."""
    try:
        names: object = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        names = None  # all in slots
    if isinstance(names, dict):
        yield from list(cast("dict[str, object]", names).items())
    for cls in type(thing).__mro__:
        for name, member in vars(cls).items():
            if isinstance(member, types.MemberDescriptorType):
                try:
                    value = member.__get__(thing)
                except AttributeError:
                    continue  # a slot that nothing was put into
                yield name, value

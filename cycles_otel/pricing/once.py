"""Saying a thing once."""

from __future__ import annotations

from collections.abc import Hashable

_MOST = 1_000


class Once:
    """Remembers what was said. It remembers so many things and no more: past that it may say one again."""

    def __init__(self) -> None:
        self._said: set[Hashable] = set()

    def first(self, thing: Hashable) -> bool:
        """Whether this is the first time."""
        if thing in self._said:
            return False
        if len(self._said) >= _MOST:
            self._said.clear()
        self._said.add(thing)
        return True

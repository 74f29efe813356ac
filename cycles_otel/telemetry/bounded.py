"""A mapping that forgets its oldest entries, so that memory stays bounded in a process that lives long."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedMap(Generic[K, V]):
    """A thread-safe mapping that keeps the newest ``limit`` entries at least, and twice as many at most.

    Entries live in two generations: when the young one is full it becomes the old one, and the old one is forgotten.
    That keeps each access as cheap as one of a dictionary, which stands on the path of every request.
    """

    __slots__ = ("_limit", "_lock", "_old", "_young")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """The value, or None."""
        value = self._young.get(key)
        return self._old.get(key) if value is None else value

    def put(self, key: K, value: V) -> None:
        """Store the value as the newest."""
        young = self._young
        young[key] = value
        if len(young) >= self._limit:
            self._age(young)

    def pop(self, key: K) -> V | None:
        """Forget the key, and return what it had."""
        older = self._old.pop(key, None)
        return self._young.pop(key, older)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._young, self._old = {}, {}

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def _age(self, full: dict[K, V]) -> None:
        with self._lock:
            if self._young is full:
                self._old, self._young = full, {}

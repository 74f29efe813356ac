"""Comparing an answer with a recorded one that has placeholders for what differs from run to run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_BOUND = re.compile(r"<(?:key|reservation_id|event_id|cursor):[^>]+>|<admin_key>")
_BINDABLE = re.compile(r"<(?:reservation_id|event_id|cursor):\d+>")
_UP_TO = re.compile(r"<ms~(\d+)>")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TRACE_ID = re.compile(r"[0-9a-f]{32}")


class Bindings:
    """What the placeholders of one scenario stand for.

    Args:
        values: what is known from the start: keys.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)
        self.elapsed_ms = 0
        """How far the clock has moved since the start: a remaining time may be that much shorter."""

    def copy(self) -> Bindings:
        """The same bindings, to try something out on."""
        tried = Bindings(self._values)
        tried.elapsed_ms = self.elapsed_ms
        return tried

    def adopt(self, tried: Bindings) -> None:
        """Keep what was bound while trying."""
        self._values = tried._values

    def fill(self, value: Any) -> Any:
        """`value` with all placeholders that are known replaced, at any depth."""
        if isinstance(value, str):
            return _BOUND.sub(lambda found: self._values.get(found[0], found[0]), value)
        if isinstance(value, list):
            return [self.fill(each) for each in value]
        if isinstance(value, dict):
            return {self.fill(key): self.fill(each) for key, each in value.items()}
        return value

    def forget(self, placeholder: str) -> None:
        """Let `placeholder` be bound anew."""
        self._values.pop(placeholder, None)

    def differences(self, expected: Any, actual: Any, where: str = "") -> list[str]:
        """How `actual` differs from `expected`, one line each; binds placeholders met for the first time."""
        if isinstance(expected, dict) and isinstance(actual, dict):
            return self._object_differences(expected, actual, where)
        if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
            pairs = zip(expected, actual, strict=True)
            return [line for index, pair in enumerate(pairs) for line in self.differences(*pair, f"{where}[{index}]")]
        if isinstance(expected, str) and self._text_matches(expected, actual):
            return []
        if type(expected) is type(actual) and expected == actual:
            return []
        return [f"{where or 'body'}: expected {self.fill(expected)!r}, got {actual!r}"]

    def _object_differences(self, expected: dict[str, Any], actual: dict[str, Any], where: str) -> list[str]:
        lines: list[str] = []
        for name in [*expected, *(name for name in actual if name not in expected)]:
            path = f"{where}.{name}" if where else name
            if name not in actual:
                lines.append(f"{path}: expected {self.fill(expected[name])!r}, but it is absent")
            elif name not in expected:
                lines.append(f"{path}: expected to be absent, got {actual[name]!r}")
            else:
                lines += self.differences(expected[name], actual[name], path)
        return lines

    def _text_matches(self, expected: str, actual: Any) -> bool:
        filled: str = self.fill(expected)
        up_to = _UP_TO.fullmatch(filled)
        if up_to is not None:
            return is_integer(actual) and int(up_to[1]) - self.elapsed_ms <= actual <= int(up_to[1])
        if filled == "<epoch_ms>":
            return is_integer(actual) and actual > 0
        if not isinstance(actual, str):
            return False
        if filled in ("<uuid>", "<trace_id>"):
            return (_UUID if filled == "<uuid>" else _TRACE_ID).fullmatch(actual) is not None
        if _BINDABLE.fullmatch(filled) and actual:
            self._values[filled] = actual
            return True
        return filled == actual

    def unordered_differences(self, expected: list[Any], actual: list[Any], where: str) -> list[str]:
        """As `differences`, of lists that are sets."""
        left = list(actual)
        missing = [item for item in expected if not self._take(item, left)]
        lines = [f"{where}: expected to contain {self.fill(item)!r}" for item in missing]
        return lines + [f"{where}: did not expect {item!r}" for item in left]

    def _take(self, item: Any, candidates: list[Any]) -> bool:
        for index, candidate in enumerate(candidates):
            tried = self.copy()
            if not tried.differences(item, candidate):
                self.adopt(tried)
                del candidates[index]
                return True
        return False


def is_integer(value: Any) -> bool:
    """Whether `value` is a JSON integer."""
    return isinstance(value, int) and not isinstance(value, bool)

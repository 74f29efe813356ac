"""Reading JSON the way the real server does: what it coerces, what it calls malformed, and how it words a violation.

A reader takes one JSON value. It raises when the value has the wrong shape (the whole body is then malformed), and
notes a violation when the shape is right and the value is not allowed. Wrong shapes win over violations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cycles_otel.local.errors import malformed_body

INT64_MAX = 2**63 - 1
ABSENT: Any = object()
"""Stands for a field that the body does not have, which is not the same as a null."""


class Reader(Protocol):
    """Reads one value of a body."""

    def read(self, value: Any, path: str, violations: list[str]) -> Any:
        """Return the coerced `value` at `path`, adding to `violations` what is not allowed about it."""


def camel_case(name: str) -> str:
    """The name under which the real server speaks of a field: `ttl_ms` is `ttlMs`."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def utf16_length(text: str) -> int:
    """The length as the real server counts it."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


@dataclass(frozen=True)
class Text:
    """A string; numbers and booleans are taken as their text."""

    min_size: int = 0
    max_size: int | None = None
    pattern: re.Pattern[str] | None = None
    pattern_message: str = ""
    required: str = ""

    def read(self, value: Any, path: str, violations: list[str]) -> str | None:
        text = None if value is ABSENT or value is None else text_of(value)
        if self.required == "null" and text is None:
            violations.append(f"{path}: must not be null")
        if self.required == "blank" and (text is None or not text.strip()):
            violations.append(f"{path}: must not be blank")
        if text is not None:
            self._check(text, path, violations)
        return text

    def _check(self, text: str, path: str, violations: list[str]) -> None:
        size = utf16_length(text)
        if self.max_size is not None and not self.min_size <= size <= self.max_size:
            violations.append(f"{path}: size must be between {self.min_size} and {self.max_size}")
        if self.pattern is not None and not self.pattern.fullmatch(text):
            violations.append(f"{path}: {self.pattern_message}")


def text_of(value: Any) -> str:
    """`value` as text, where the real server would take it as such."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise malformed_body()


@dataclass(frozen=True)
class Integer:
    """A 64-bit integer; fractions are cut off, digits in a string are read, an empty string is null."""

    minimum: int | None = None
    maximum: int | None = None
    required: bool = False
    default: int | None = None

    def read(self, value: Any, path: str, violations: list[str]) -> int | None:
        number = self.default if value is ABSENT else integer_of(value)
        if number is None:
            if self.required:
                violations.append(f"{path}: must not be null")
            return None
        if self.minimum is not None and number < self.minimum:
            violations.append(f"{path}: must be greater than or equal to {self.minimum}")
        if self.maximum is not None and number > self.maximum:
            violations.append(f"{path}: must be less than or equal to {self.maximum}")
        return number


def integer_of(value: Any) -> int | None:
    """`value` as a 64-bit integer, None for null and blank text."""
    if value is None:
        return None
    if isinstance(value, str):
        return _integer_in(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise malformed_body()
    return _within_int64(int(value))


def _integer_in(text: str) -> int | None:
    if text in ("", "null"):
        return None
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise malformed_body()
    return _within_int64(int(text))


def _within_int64(number: int) -> int:
    if not -INT64_MAX - 1 <= number <= INT64_MAX:
        raise malformed_body()
    return number


@dataclass(frozen=True)
class Flag:
    """A boolean; 0 is false, other integers are true."""

    default: bool | None = None

    def read(self, value: Any, path: str, violations: list[str]) -> bool | None:
        if value is ABSENT:
            return self.default
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return value != 0
        if isinstance(value, str):
            return _flag_in(value.strip())
        raise malformed_body()


def _flag_in(text: str) -> bool | None:
    words = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
    if text in ("", "null"):
        return None
    if text not in words:
        raise malformed_body()
    return words[text]


@dataclass(frozen=True)
class Choice:
    """One of a list of names; an integer is taken as the position in the list."""

    names: Sequence[str]
    required: bool = False

    def read(self, value: Any, path: str, violations: list[str]) -> str | None:
        if value is ABSENT or value is None:
            if self.required:
                violations.append(f"{path}: must not be null")
            return None
        return self._name_of(value)

    def _name_of(self, value: Any) -> str:
        if isinstance(value, str) and value.strip() in self.names:
            return value.strip()
        if isinstance(value, str) and re.fullmatch(r"0|[1-9][0-9]*", value):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(self.names):
            return self.names[value]
        raise malformed_body()


@dataclass(frozen=True)
class Texts:
    """A list of strings."""

    max_items: int
    max_size: int

    def read(self, value: Any, path: str, violations: list[str]) -> list[str | None] | None:
        if value is ABSENT or value is None:
            return None
        if not isinstance(value, list):
            raise malformed_body()
        if len(value) > self.max_items:
            violations.append(f"{path}: size must be between 0 and {self.max_items}")
        item = Text(max_size=self.max_size)
        return [item.read(each, f"{path}[{index}]", violations) for index, each in enumerate(value)]


@dataclass(frozen=True)
class TextMap:
    """An object whose values are strings."""

    max_items: int
    max_size: int

    def read(self, value: Any, path: str, violations: list[str]) -> dict[str, str | None] | None:
        if value is ABSENT or value is None:
            return None
        if not isinstance(value, dict):
            raise malformed_body()
        if len(value) > self.max_items:
            violations.append(f"{path}: size must be between 0 and {self.max_items}")
        item = Text(max_size=self.max_size)
        return {key: item.read(each, f"{path}[{key}]", violations) for key, each in value.items()}


@dataclass(frozen=True)
class AnyObject:
    """An object of any content."""

    def read(self, value: Any, path: str, violations: list[str]) -> dict[str, Any] | None:
        if value is ABSENT or value is None:
            return None
        if not isinstance(value, dict):
            raise malformed_body()
        return value


@dataclass(frozen=True)
class Record:
    """An object of known fields; an unknown field makes the body malformed."""

    fields: Mapping[str, Reader]
    required: bool = False
    check: Callable[[dict[str, Any], str, list[str]], None] | None = None

    def read(self, value: Any, path: str, violations: list[str]) -> dict[str, Any] | None:
        if value is ABSENT or value is None:
            if self.required:
                violations.append(f"{path}: must not be null")
            return None
        if not isinstance(value, dict) or not value.keys() <= self.fields.keys():
            raise malformed_body()
        prefix = f"{path}." if path else ""
        read = {
            name: reader.read(value.get(name, ABSENT), prefix + camel_case(name), violations)
            for name, reader in self.fields.items()
        }
        if self.check is not None:
            self.check(read, path, violations)
        return read

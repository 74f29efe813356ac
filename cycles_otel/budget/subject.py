"""Who pays: the subject of a request, and how free names become values that the protocol accepts."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass, replace
from typing import Any

FIELDS = ("tenant", "workspace", "app", "workflow", "agent", "toolset")
_MAX_LENGTH = 128
_DIGEST_LENGTH = 8
_VALID = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_REFUSED = re.compile(r"[^a-zA-Z0-9_.-]+")


@dataclass(frozen=True)
class Subject:
    """The levels of a Cycles subject; a level that is None is left out of the scope."""

    tenant: str | None = None
    workspace: str | None = None
    app: str | None = None
    workflow: str | None = None
    agent: str | None = None
    toolset: str | None = None

    def with_levels(self, **levels: str | None) -> Subject:
        """A copy in which the given levels stand; a level given as None keeps its value."""
        return replace(self, **{name: subject_value(value) for name, value in levels.items() if value is not None})

    def to_body(self) -> dict[str, Any]:
        """The subject as the protocol's JSON: only the levels that have a value."""
        return {name: value for name, value in vars(self).items() if value is not None}


def is_subject_value(value: str) -> bool:
    """Whether the protocol accepts this value as it is."""
    return _VALID.fullmatch(value) is not None


def subject_value(name: str) -> str:
    """A value that the protocol accepts for any name: readable, and distinct for distinct names.

    A valid name stays as it is. Any other keeps its letters without their accents, gets hyphens for what is
    refused, is shortened, and ends in a digest of the original, so that two such names never share a budget.
    """
    if is_subject_value(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    readable = _REFUSED.sub("-", ascii_name).strip("-")[: _MAX_LENGTH - _DIGEST_LENGTH - 1]
    return f"{readable or 'name'}-{digest}"

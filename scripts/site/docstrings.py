"""Reads our docstrings for the reference: sections as numpydoc has them, with each description beside its name."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ENTRY = re.compile(r"^(\*{0,2}[\w.]+(?:, \*{0,2}\w+)*): (?=\S)", re.MULTILINE)
_SECTION = re.compile(r"^(Parameters|Raises)\n-{3,}\n(.*?)(?=^\w[^\n]*\n-{3,}\n|\Z)", re.MULTILINE | re.DOTALL)


class OneLineEntries(griffe.Extension):
    """``name: what it is`` becomes the two lines that the parser of numpydoc's style asks for."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called once for each object that was read."""
        if obj.docstring:
            obj.docstring.value = _SECTION.sub(_two_lines, obj.docstring.value)


def _two_lines(section: re.Match[str]) -> str:
    # A description that begins beside its name goes on indented, as numpydoc's does.
    return section[0][: section.start(2) - section.start()] + _ENTRY.sub(r"\1\n    ", section[2])

"""The fenced blocks of every page: of the README, of ``docs/``, and of what lives beside the thing it is about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_NOT_OURS = ("node_modules", "site", "dist", "build")
_FENCE = re.compile(r"(?P<indent> *)(?P<mark>`{3,}|~{3,})(?P<info>[^`]*)")
OUTPUT = 'title="Output"'


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Parameters
    ----------
    page: the file, from the root of the repository.
    line: the number of its first line in the file, from 1.
    language: the first word of the fence; empty where there is none.
    options: what follows the language.
    """

    page: str
    line: int
    language: str
    options: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_output(self) -> bool:
        """Whether it is what the block before it prints."""
        return OUTPUT in self.options


@cache
def pages() -> tuple[str, ...]:
    """Every Markdown file of the project."""
    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*.md"))
    return tuple(
        sorted(
            path.as_posix()
            for path in paths
            if not any(part.startswith(".") or part in _NOT_OURS for part in path.parts)
        )
    )


def text_of(page: str) -> str:
    """A page as it is written."""
    return (ROOT / page).read_text(encoding="utf-8")


@cache
def blocks(*languages: str) -> tuple[Block, ...]:
    """The blocks of all pages in any of these languages; without one, all blocks."""
    found = (block for page in pages() for block in _of(page))
    return tuple(block for block in found if not languages or block.language in languages)


def blocks_of(page: str) -> tuple[Block, ...]:
    """The blocks of a page, in their order."""
    return tuple(block for block in blocks() if block.page == page)


def _of(page: str) -> Iterator[Block]:
    opened: re.Match[str] | None = None
    start, lines = 0, list[str]()
    for number, line in enumerate(text_of(page).splitlines(), start=1):
        fence = _FENCE.fullmatch(line.rstrip())
        if opened is None and fence:
            opened, start, lines = fence, number + 1, []
        elif opened is not None and fence and fence["mark"] == opened["mark"] and not fence["info"]:
            language, _, options = opened["info"].strip().partition(" ")
            yield Block(page, start, language, options, "".join(f"{each}\n" for each in lines))
            opened = None
        elif opened is not None:
            lines.append(line.removeprefix(opened["indent"]))
    assert opened is None, f"{page}: the block that begins in line {start} has no end"

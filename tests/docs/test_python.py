"""The Python blocks of each page run as they stand, one after the other, and print what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, Block, blocks, blocks_of
from tests.docs.not_run import RUN_ELSEWHERE
from tests.docs.reader import BlockError, read
from tests.docs.stages import STAGES

PYTHON = tuple(dict.fromkeys(block.page for block in blocks("python")))


def of_page(page: str) -> tuple[Block, ...]:
    return tuple(block for block in blocks_of(page) if block.language == "python")


@pytest.mark.parametrize("page", [page for page in PYTHON if page not in RUN_ELSEWHERE])
def test_the_blocks_of_a_page_run_one_after_the_other(page: str, tmp_path: Path) -> None:
    printed = read(page, of_page(page), tmp_path)
    for block, shown in zip(of_page(page), printed, strict=True):
        expected = output_of(block)
        if expected is not None:
            assert matches(shown, expected.text), f"{expected} says:\n{expected.text}\nbut it is:\n{shown}"


def test_a_page_that_another_test_runs_is_named_there() -> None:
    for page, test in RUN_ELSEWHERE.items():
        assert page in PYTHON, "take it out of tests/docs/not_run.py"
        assert Path(page).name in (ROOT / test).read_text(encoding="utf-8")


def output_of(block: Block) -> Block | None:
    """What a block prints, where the page says it."""
    following = blocks_of(block.page)[blocks_of(block.page).index(block) + 1 :]
    return following[0] if following and following[0].is_output else None


def matches(shown: str, written: str) -> bool:
    """Whether something was printed as it is written; ``...`` stands for anything within a line, or for lines."""
    parts = [re.escape(part) for part in written.strip().split("...")]
    return re.fullmatch(".*".join(parts), shown.strip(), re.DOTALL) is not None


class TestTheReader:
    def test_an_error_is_shown_with_the_line_of_the_page(self, tmp_path: Path) -> None:
        block = Block("docs/some.md", 17, "python", "", "x = 1\nx.nothing\n")
        with pytest.raises(BlockError, match=r'docs/some.md", line 18'):
            read("docs/some.md", (block,), tmp_path)

    def test_blocks_share_their_names_and_may_await(self, tmp_path: Path) -> None:
        texts = ("import asyncio\nx = 1\n", "await asyncio.sleep(0)\nx += 1\n", "print(x)\n")
        blocks = tuple(Block("docs/some.md", 1, "python", "", text) for text in texts)
        assert read("docs/some.md", blocks, tmp_path) == ["", "", "2\n"]

    def test_every_stage_belongs_to_a_page(self) -> None:
        assert set(STAGES) <= set(PYTHON)


def test_the_pages_that_a_reader_begins_with_are_among_them() -> None:
    assert {"README.md", "docs/tutorial.md"} <= set(PYTHON)


@pytest.mark.parametrize(
    ("shown", "written", "is_right"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\nb\nc\n", "a\n...\nc\n", True),
        ("took 12 ms\n", "took ... ms\n", True),
        ("a\n", "b\n", False),
        ("a\nb\n", "a\n", False),
    ],
)
def test_what_is_printed_must_be_what_is_written(shown: str, written: str, is_right: bool) -> None:
    assert matches(shown, written) is is_right

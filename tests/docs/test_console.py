"""The commands of each page: they exist, their options are accepted, and what they print is what the page says."""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import runcycles

from cycles_otel.cli.arguments import parser
from cycles_otel.local import LocalCycles
from tests.docs.blocks import ROOT, Block, blocks, pages, text_of
from tests.docs.not_run import PROGRAMS
from tests.docs.stages import stage_of
from tests.docs.test_python import matches

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
EXTRAS = re.findall(
    r"^([\w-]+) = \[", PYPROJECT.partition("[project.optional-dependencies]")[2].partition("\n[")[0], re.M
)
_OF_EVERY_SHELL = {".", "cd", "eval", "export", "grep", "mv"}
_SEPARATORS = {";", "&&", "||", "|", "&"}


@dataclass(frozen=True)
class Command:
    """A line that a reader types, and what the page says that it prints."""

    block: Block
    line: str
    printed: str

    def __str__(self) -> str:
        return f"{self.block.page}: {self.line}"

    def programs(self) -> Iterator[list[str]]:
        """The programs that it starts, each with its arguments; variables and redirections are left out."""
        tokens = shlex.shlex(self.line, posix=True, punctuation_chars=True)
        tokens.whitespace_split, tokens.commenters = True, ""
        words: list[str] = []
        for word in [*re_joined(tokens), ";"]:
            if word in _SEPARATORS:
                yield from [words] if words else []
                words = []
            elif words or not re.fullmatch(r"[A-Z_][A-Z0-9_]*=.*", word):
                words.append(word)


def re_joined(tokens: Iterator[str]) -> Iterator[str]:
    """Words, without what is written to a file."""
    skip = False
    for token in tokens:
        if token in (">", ">>", "<"):
            skip = True
        elif skip:
            skip = False
        else:
            yield token


def commands() -> Iterator[Command]:
    """Every command of every page."""
    for block in blocks("console"):
        typed = [part for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE) if part]
        assert block.text.startswith("$ "), f"{block}: a console begins with a command"
        for each in typed:
            joined = re.sub(r"\\\n\s*", "", each)
            line, _, printed = joined.partition("\n")
            yield Command(block, re.sub(r"\s+# .*", "", line), printed)


COMMANDS = tuple(commands())
OURS = tuple(each for each in COMMANDS if any(Path(words[0]).name == "cycles-otel" for words in each.programs()))


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_is_one_that_there_is(command: Command) -> None:
    for words in command.programs():
        name = Path(words[0]).name or words[0]
        check = CHECKS.get(name)
        if check is not None:
            check(words[1:])
        else:
            assert name in PROGRAMS or name in _OF_EVERY_SHELL, f"{name} is neither known nor in tests/docs/not_run.py"
        for path in files_named(words[1:]):
            assert (ROOT / path).exists(), f"{command}: there is no {path}"


def files_named(arguments: list[str]) -> Iterator[str]:
    """The arguments that are a path into the repository: their first part is a folder of it."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    yield from (each for each in arguments if "/" in each and each.partition("/")[0] in folders)


def _cycles_otel(arguments: list[str]) -> None:
    parser().parse_args([each for each in arguments if each != "..."])


def _make(arguments: list[str]) -> None:
    for each in arguments:
        variable, is_variable, _ = each.partition("=")
        known = f"$({variable})" in MAKEFILE if is_variable else re.search(rf"^{each}:", MAKEFILE, re.MULTILINE)
        assert known, f"the Makefile has no {each}"


def _pip(arguments: list[str]) -> None:
    assert arguments[0] == "install"
    for before, each in itertools.pairwise(arguments):
        if before == "--group":
            assert re.search(rf"^{each} = \[", PYPROJECT, re.MULTILINE), f"there is no group {each}"
        elif not each.startswith("-"):
            name, _, extra = each.rstrip("]").partition("[")
            assert name in ("cycles-otel", ".", "pip") or f'"{name}' in PYPROJECT, (
                f"{name} is not known to this project"
            )
            assert not extra or extra in EXTRAS, f"there is no extra {extra}"


def _python(arguments: list[str]) -> None:
    if not arguments:
        return
    if arguments[0] == "-m":
        assert importlib.util.find_spec(arguments[1]) is not None, f"there is no module {arguments[1]}"
    else:
        assert (ROOT / arguments[0]).is_file(), f"there is no {arguments[0]}"


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "cycles-otel": _cycles_otel,
    "make": _make,
    "pip": _pip,
    "python": _python,
    "python3": _python,
}


@pytest.mark.parametrize("command", [each for each in OURS if each.printed], ids=str)
def test_a_command_of_ours_prints_what_the_page_says(command: Command, tmp_path: Path) -> None:
    (words,) = command.programs()
    page = command.block.page
    with LocalCycles(**stage_of(page).server(page)) as server:
        for block in blocks("yaml"):
            if block.page == page and block.text.startswith("budgets:"):
                (tmp_path / "budgets.yaml").write_text(block.text, encoding="utf-8")
        shown = first_lines([*words[1:], "--port", "0"], command.printed.count("\n"), server, tmp_path)
    written = re.sub(r"(127\.0\.0\.1|localhost):\d+", "...", command.printed)
    assert matches(shown, written), f"it prints:\n{shown}"


def first_lines(arguments: list[str], count: int, server: LocalCycles, folder: Path) -> str:
    """So many of the first lines that a command prints; it is ended after that."""
    cycles = {
        name: value for name, value in server.environ().items() if name != "CYCLES_TENANT"
    }  # as the pages have it
    environ = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), **cycles}
    command = [sys.executable, "-u", "-m", "cycles_otel", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, env=environ
    ) as run:
        assert run.stdout is not None
        lines = [run.stdout.readline() for _ in range(count)]
        run.terminate()
    return "".join(lines)


def test_a_program_that_is_not_run_is_still_in_the_documentation() -> None:
    used = {Path(words[0]).name for each in COMMANDS for words in each.programs()}
    assert set(PROGRAMS) <= used, "take these out of tests/docs/not_run.py"


def test_every_extra_that_a_page_names_exists() -> None:
    named = {extra for page in pages() for extra in re.findall(r"cycles-otel\[([\w-]+)\]", text_of(page))}
    assert named
    assert named <= set(EXTRAS)


def test_every_variable_of_ours_that_a_page_names_is_read_somewhere() -> None:
    read_by = [*(ROOT / "cycles_otel").rglob("*.py"), *Path(runcycles.__path__[0]).rglob("*.py")]
    source = "".join(path.read_text(encoding="utf-8") for path in read_by)
    named = {(name, page) for page in pages() for name in re.findall(r"\bCYCLES_[A-Z_]*[A-Z]\b", text_of(page))}
    # runcycles puts its names together: a prefix, and what follows it.
    unknown = {(name, page) for name, page in named if not re.search(rf"\b(CYCLES_)?{name[7:]}\b", source)}
    assert not unknown

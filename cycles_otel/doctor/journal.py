"""The journal: whether a known spend can be noted on disk, and what waits there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from runcycles import CyclesConfig

from cycles_otel.budget.journal import journal_folder
from cycles_otel.budget.pending import pending, unreadable
from cycles_otel.doctor.finding import Finding, note, well, wrong

JOURNAL, PENDING = "journal", "pending"
_ABANDONED = 60.0


def look(config: CyclesConfig) -> Iterator[Finding]:
    """Where known spend is noted, and what is still there."""
    if not config.journal_enabled:
        yield note(
            JOURNAL,
            "is switched off: what is not settled when the process ends is lost",
            "Unset CYCLES_JOURNAL_ENABLED",
        )
        return
    folder = journal_folder(config)
    refusal = _why_not_writable(folder)
    if refusal is not None:
        mend = "Make the folder writable, or set CYCLES_JOURNAL_DIR to one that is: a spend could be lost at a crash"
        yield wrong(JOURNAL, f"{folder} cannot be written: {refusal}", mend)
        return
    yield well(JOURNAL, f"{folder} can be written")
    yield from _waiting(folder)


def _waiting(folder: Path) -> Iterator[Finding]:
    left = list(pending(folder))
    dead = [each for each in left if not each.alive and each.age > _ABANDONED]
    if dead:
        found = f"{len(dead)} of {len(left)} spends belong to no live process, the oldest for {dead[0].age:.0f} s"
        yield wrong(PENDING, found, "cycles-otel journal replay sends them, or the next start of the program does")
    elif left:
        yield note(PENDING, f"{len(left)} spends are on their way, the oldest for {left[0].age:.0f} s")
    else:
        yield well(PENDING, "nothing waits to be settled")
    if corrupt := unreadable(folder):
        yield note(PENDING, f"{len(corrupt)} records could not be read", f"Look at {corrupt[0].parent}/*.corrupt")


def _why_not_writable(folder: Path) -> str | None:
    """Tried with a file that has no name, and leaves none; where the folder is missing, in the first that is there."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):
            return None
    except OSError as error:
        return error.strerror or str(error)

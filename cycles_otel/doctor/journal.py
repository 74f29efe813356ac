"""The journal: whether a known spend can be noted on disk, and what waits there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from runcycles import CyclesConfig

from cycles_otel.budget.journal import Journal, journal_folder
from cycles_otel.budget.pending import in_words, pending, unreadable
from cycles_otel.doctor.finding import Finding, note, skipped, well, wrong

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
    folder, directory = journal_folder(config), Journal(config, lambda _: None).directory
    refusal = _why_not_writable(directory or folder)
    if refusal is not None:
        mend = "Make the folder writable, or set CYCLES_JOURNAL_DIR to one that is: a spend could be lost at a crash"
        yield wrong(JOURNAL, f"{folder} cannot be written: {refusal}", mend)
        yield skipped(PENDING, "the journal cannot be written")
        return
    yield well(JOURNAL, f"{folder} can be written")
    try:
        yield from _waiting(folder, directory)
    except OSError as error:
        mend = "Let this user read the folder, or run the doctor as the program's user"
        yield wrong(PENDING, f"{error.filename} cannot be read: {error.strerror}", mend)


def _waiting(folder: Path, directory: Path | None) -> Iterator[Finding]:
    waiting, corrupt = pending(folder), unreadable(folder)
    left = [each for each in waiting if each.file.parent == directory]
    dead = [each for each in left if not each.alive and each.age > _ABANDONED]
    if dead:
        found = f"{len(dead)} of {len(left)} belong to no live process, the oldest for {in_words(dead[0].age)}"
        yield wrong(PENDING, found, "cycles-otel journal replay sends them, or the next start of the program does")
    elif left:
        yield note(PENDING, f"{len(left)} on their way, the oldest for {in_words(left[0].age)}")
    else:
        yield well(PENDING, "nothing waits to be settled")
    if elsewhere := [each for each in waiting if each not in left and not each.alive and each.age > _ABANDONED]:
        found = f"{len(elsewhere)} more belong to no live process, for other servers or tenants"
        yield note(PENDING, found, "cycles-otel journal list shows them")
    if corrupt:
        yield note(PENDING, f"{len(corrupt)} records cannot be read", f"Look at {corrupt[0]}")


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

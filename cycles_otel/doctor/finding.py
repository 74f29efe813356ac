"""What a check found, and what there is to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    """How it looks; only WRONG makes the doctor's exit status 1."""

    WELL = "ok"
    NOTE = "note"
    WRONG = "mend"
    SKIPPED = "not checked"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Parameters
    ----------
    check: what was looked at.
    found: what is so, in one line.
    mend: what to do about it, in one line; "" where there is nothing to do.
    """

    check: str
    status: Status
    found: str
    mend: str = ""


def well(check: str, found: str) -> Finding:
    """All is as it should be."""
    return Finding(check, Status.WELL, found)


def note(check: str, found: str, mend: str = "") -> Finding:
    """It works, and is worth to be known."""
    return Finding(check, Status.NOTE, found, mend)


def wrong(check: str, found: str, mend: str) -> Finding:
    """It does not work, and what to do."""
    return Finding(check, Status.WRONG, found, mend)


def skipped(check: str, because: str) -> Finding:
    """It could not be looked at."""
    return Finding(check, Status.SKIPPED, f"because {because}")

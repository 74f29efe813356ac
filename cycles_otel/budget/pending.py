"""What journals have on disk, read without changing anything: for whoever wants to know what is not settled yet."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runcycles.journal import PendingCommitRecord

from cycles_otel.budget.journal import OURS
from cycles_otel.budget.ownership import is_held


@dataclass(frozen=True)
class Pending:
    """A spend that is known and not settled yet.

    Parameters
    ----------
    kind: ``commit``, or ``event`` where that stands in for a commit.
    key: the idempotency key of what charges it.
    base_url: the server that it is for.
    amount: in whole ``unit``s; None where the record does not say.
    age: seconds since it was known.
    alive: whether the process that it belongs to lives, and will send it itself.
    """

    file: Path
    id: str
    kind: str
    key: str
    base_url: str
    amount: int | None
    unit: str
    tenant: str
    age: float
    alive: bool


def pending(journal: Path) -> list[Pending]:
    """Everything below the folder of the journals, whichever server or tenant it is for, the oldest first.

    Raises ``OSError`` where the folder is there and cannot be read.
    """
    found = [each for file in _files(journal, ".json") if (each := _read(file)) is not None]
    return sorted(found, key=lambda each: -each.age)


def unreadable(journal: Path) -> list[Path]:
    """Records that cannot be read, whether they are put aside already or not; raises as ``pending`` does."""
    # What is settled meanwhile is no file any more, and not one that cannot be read.
    broken = [file for file in _files(journal, ".json") if _read(file) is None and file.exists()]
    return _files(journal, ".corrupt") + broken


def in_words(age: float) -> str:
    """An age in s, as a person says it."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if age >= 2 * size:
            return f"{age / size:.0f} {unit}"
    return f"{age:.0f} s"


def _files(journal: Path, suffix: str) -> list[Path]:
    """The files of all journals; a glob would take a folder that may not be read for one that is empty."""
    try:
        folders = [Path(each) for each in os.scandir(journal) if each.is_dir()]
    except FileNotFoundError:
        return []
    return sorted(Path(each) for folder in folders for each in os.scandir(folder) if each.name.endswith(suffix))


def _read(file: Path) -> Pending | None:
    try:
        text = file.read_text(encoding="utf-8")
        entry = PendingCommitRecord.from_json(text)
    except (OSError, ValueError):
        return None
    body = entry.commit_body or entry.event_fallback_body or {}
    actual = _mapping(body, "actual")
    amount, owner = actual.get("amount"), _mapping(json.loads(text), OURS).get("owner")
    return Pending(
        file,
        entry.reservation_id,
        entry.mode,
        str(body.get("idempotency_key", "")),
        entry.base_url,
        amount if isinstance(amount, int) else None,
        str(actual.get("unit", "")),
        str(_mapping(entry.event_fallback_body or {}, "subject").get("tenant", "")),
        max(time.time() - entry.recorded_at_ms / 1000, 0.0),
        isinstance(owner, str) and is_held(file.parent, owner),
    )


def _mapping(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = of.get(name)
    return value if isinstance(value, dict) else {}

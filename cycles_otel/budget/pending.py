"""What journals have on disk, read without changing anything: for whoever wants to know what is not settled yet."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cycles_otel.budget.journal import OURS
from cycles_otel.budget.ownership import is_held


@dataclass(frozen=True)
class Pending:
    """A spend that is known and not settled yet.

    Parameters
    ----------
    kind: ``commit``, or ``event`` where that stands in for a commit.
    base_url: the server that it is for.
    amount: in whole ``unit``s; None where the record does not say.
    age: seconds since it was noted.
    alive: whether the process that it belongs to lives, and will send it itself.
    """

    file: Path
    id: str
    kind: str
    base_url: str
    amount: int | None
    unit: str
    tenant: str
    age: float
    alive: bool


def pending(journal: Path) -> Iterator[Pending]:
    """Everything below the folder of the journals, whichever server or tenant it is for, the oldest first."""
    found = [each for file in sorted(journal.glob("*/*.json")) if (each := _read(file)) is not None]
    return iter(sorted(found, key=lambda each: -each.age))


def unreadable(journal: Path) -> list[Path]:
    """Records that nobody could read, put aside."""
    return sorted(journal.glob("*/*.corrupt"))


def _read(file: Path) -> Pending | None:
    record: Any = None
    with contextlib.suppress(OSError, ValueError):
        record = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(record, dict) or not isinstance(record.get("reservation_id"), str):
        return None
    body = _mapping(record, "commit_body") or _mapping(record, "event_fallback_body")
    actual, event = _mapping(body, "actual"), _mapping(record, "event_fallback_body")
    amount, owner = actual.get("amount"), _mapping(record, OURS).get("owner")
    noted = record.get("recorded_at_ms")
    return Pending(
        file,
        record["reservation_id"],
        str(record.get("mode", "commit")),
        str(record.get("base_url", "")),
        amount if isinstance(amount, int) else None,
        str(actual.get("unit", "")),
        str(_mapping(event, "subject").get("tenant", "")),
        max(time.time() - noted / 1000, 0.0) if isinstance(noted, int) else 0.0,
        isinstance(owner, str) and is_held(file.parent / owner),
    )


def _mapping(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = of.get(name)
    return value if isinstance(value, dict) else {}

"""The files that are shipped: dashboards, recording rules and alerts, runbooks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PATTERNS = ("*.json", "rules/*.yaml", "runbooks/*.md")
_SHIPPED = Path(__file__).with_name("files")
_REPOSITORY = Path(__file__).parents[2] / "dashboards"

Board = dict[str, Any]
"""A dashboard as Grafana reads it."""


def shipped_files() -> dict[str, Path]:
    """Each file by its path below the folder that they are exported to.

    A wheel has them beside this module; in an editable installation they are where the repository has them.
    """
    folder = _SHIPPED if _SHIPPED.is_dir() else _REPOSITORY
    found = sorted(path for pattern in PATTERNS for path in folder.glob(pattern))
    return {path.relative_to(folder).as_posix(): path for path in found}


def shipped_boards() -> list[Board]:
    """The dashboards."""
    boards = [path for name, path in shipped_files().items() if name.endswith(".json")]
    return [json.loads(path.read_text(encoding="utf-8")) for path in boards]


def export_files(folder: Path) -> list[Path]:
    """Write all files below a folder, which is made where it is missing; what stands there is overwritten.

    Raises
    ------
    OSError: a file cannot be written.
    """
    written = []
    for name, path in shipped_files().items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        written.append(target)
    return written

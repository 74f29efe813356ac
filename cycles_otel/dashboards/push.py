"""Puts the shipped dashboards into a Grafana, and tells what is another there."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from cycles_otel._version import __version__
from cycles_otel.dashboards.files import Board
from cycles_otel.dashboards.grafana import Grafana

NEW, CHANGED, UNCHANGED = "new", "changed", "unchanged"
_GRAFANAS_OWN = ("id", "version")


@dataclass(frozen=True)
class Push:
    """What became of one dashboard, or would.

    Parameters
    ----------
    state: ``new``, ``changed`` or ``unchanged``.
    difference: lines of a unified diff, from what Grafana has to what is shipped.
    url: where it is to be seen; None where nothing was put.
    """

    title: str
    state: str
    difference: tuple[str, ...] = ()
    url: str | None = None


def push_boards(grafana: Grafana, boards: Sequence[Board], folder: str | None, *, dry_run: bool = False) -> list[Push]:
    """Put the dashboards into a folder, which is made where it is missing; what is the same already is left alone.

    Parameters
    ----------
    folder: the title of a top folder; None for Grafana's own, which has no title.
    dry_run: ask only, and change nothing.

    Raises
    ------
    GrafanaError: Grafana does not answer, or refuses.
    """
    place = "" if folder is None else grafana.folder(folder)
    if place is None and not dry_run:
        place = grafana.create_folder(str(folder))
    return [_push(grafana, board, place, dry_run) for board in boards]


def _push(grafana: Grafana, board: Board, place: str | None, dry_run: bool) -> Push:
    there = grafana.board(board["uid"])
    difference = _difference(board, there, place)
    if not difference:
        return Push(board["title"], UNCHANGED)
    url = None if dry_run else grafana.save(board, str(place), f"cycles-otel {__version__}")
    return Push(board["title"], NEW if there is None else CHANGED, difference, url)


def _difference(board: Board, there: tuple[Board, str] | None, place: str | None) -> tuple[str, ...]:
    has, folder = ([], "") if there is None else (_lines(there[0]), there[1])
    changes = list(difflib.unified_diff(has, _lines(board), "in Grafana", "shipped", lineterm="", n=1))
    if there is not None and folder != place:
        changes.insert(0, f"moves from folder {folder or 'General'!r} to {place or 'a new one'!r}")
    return tuple(changes)


def _lines(board: Board) -> list[str]:
    ours = {key: value for key, value in board.items() if key not in _GRAFANAS_OWN}
    return json.dumps(ours, indent=2, sort_keys=True, ensure_ascii=False).splitlines()

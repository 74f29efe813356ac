"""The dashboards of the repository, as a test looks at them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parents[2] / "dashboards"
BOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DIRECTORY.glob("*.json"))
}
BUILT_IN = {"__range", "__rate_interval", "__url_time_range", "__data"}
"""Variables that Grafana has by itself."""


def panels_of(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels, those in collapsed rows too, and the headings."""
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", [])


def shown_of(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels that show something: no headings."""
    return (panel for panel in panels_of(board) if panel["type"] != "row")


def expressions_of(board: dict[str, Any]) -> Iterator[str]:
    """Every PromQL expression of panels, variables and annotations."""
    for panel in shown_of(board):
        yield from (target["expr"] for target in panel["targets"] if "expr" in target)
    yield from (annotation["target"]["expr"] for annotation in board["annotations"]["list"])


def variables_in(text: str) -> set[str]:
    """The names of the variables that a text uses."""
    return {plain or braced for plain, braced in re.findall(r"\$([A-Za-z_]\w*)|\$\{([A-Za-z_]\w*)[^}]*\}", text)}

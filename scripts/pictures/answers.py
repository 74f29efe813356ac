"""What a Prometheus answers to the queries of a board, with the board's variables filled in."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

POINTS = 240
"""How many points a line has at most."""


@dataclass(frozen=True)
class Series:
    """One series of an answer."""

    name: str
    labels: dict[str, str]
    points: list[tuple[float, float]]
    ref: str

    @property
    def last(self) -> float:
        """The last value that is a number."""
        return next((value for _, value in reversed(self.points) if not math.isnan(value)), math.nan)


class Asker:
    """Asks a Prometheus as Grafana does.

    Parameters
    ----------
    start, end: the time range, in s since the epoch.
    scrape: seconds from one scrape to the next.
    """

    def __init__(self, url: str, start: float, end: float, scrape: int) -> None:
        self._url, self.start, self.end = url, start, end
        self.step = max(1, math.ceil((end - start) / POINTS))
        self._values = {
            "__rate_interval": f"{max(self.step + scrape, 4 * scrape)}s",
            "__interval": f"{self.step}s",
            "__range": f"{int(end - start)}s",
        }

    def select(self, board: dict[str, Any]) -> None:
        """Take "All" for every variable of the board."""
        for variable in board["templating"]["list"]:
            if "allValue" in variable:
                self._values[variable["name"]] = variable["allValue"]

    def filled(self, expression: str) -> str:
        """An expression with the values of the variables."""

        def value(match: re.Match[str]) -> str:
            return self._values.get(match[1] or match[2], match[0])

        return re.sub(r"\$\{(\w+)\}|\$(\w+)", value, expression)

    def ask(self, panel: dict[str, Any]) -> list[Series]:
        """The series of a panel; none where it does not ask a Prometheus."""
        return [series for target in panel.get("targets", []) for series in self._answer(target)]

    def exemplars(self, target: dict[str, Any]) -> list[tuple[float, float]]:
        """The times and values of the exemplars that Grafana would show for a query."""
        found = self._get("query_exemplars", query=self.filled(target["expr"]), start=self.start, end=self.end)
        return [(float(one["timestamp"]), float(one["value"])) for series in found for one in series["exemplars"]]

    def _answer(self, target: dict[str, Any]) -> Iterator[Series]:
        if "expr" not in target:
            return
        query = self.filled(target["expr"])
        if target.get("instant"):
            found = self._get("query", query=query, time=self.end)["result"]
        else:
            found = self._get("query_range", query=query, start=self.start, end=self.end, step=self.step)["result"]
        for one in found:
            labels, points = one["metric"], one.get("values") or [one["value"]]
            name = re.sub(r"\{\{(\w+)\}\}", lambda m, of=labels: of.get(m[1], ""), target.get("legendFormat", ""))
            yield Series(name.strip(), labels, [(float(at), float(value)) for at, value in points], target["refId"])

    def _get(self, what: str, **parameters: Any) -> Any:
        reply = httpx.get(f"{self._url}/api/v1/{what}", params=parameters, timeout=30)
        if reply.status_code != 200:
            raise ValueError(f"{reply.text} to {parameters}")
        return reply.json()["data"]

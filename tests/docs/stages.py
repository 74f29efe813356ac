"""What a page takes for granted: the budgets of its tenant, what the models say, what happens between two blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from cycles_otel.local import LocalCycles
from tests.docs.blocks import blocks_of
from tests.wire.answers import Answer
from tests.wire.stub import Stub

AMPLE = {"tenant:acme": {"USD_MICROCENTS": 1_000_000_000, "TOKENS": 10_000_000, "RISK_POINTS": 10_000}}


def _nothing(server: LocalCycles, stub: Stub) -> None:
    """There is nothing to look at."""


@dataclass(frozen=True)
class Stage:
    """Where the blocks of a page play.

    Parameters
    ----------
    budgets: of the embedded server; None for those of the first YAML block of the page that has some.
    answers: what the stand-in for OpenAI says first; after that it says "done".
    names: what the page says that the reader has.
    environ: what the page says that is set.
    before: what happens before a Python block, by its number from 0.
    afterwards: what must hold after the last block.
    """

    budgets: Mapping[str, Any] | None = field(default_factory=lambda: AMPLE)
    answers: tuple[Answer, ...] = ()
    names: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[int, Callable[[LocalCycles], object]] = field(default_factory=dict)
    afterwards: Callable[[LocalCycles, Stub], None] = _nothing

    def server(self, page: str) -> dict[str, Any]:
        """What the embedded server is made with."""
        return {"budgets": self.budgets if self.budgets is not None else budgets_in(page)}


def budgets_in(page: str) -> dict[str, Any]:
    """The budgets of the first YAML block of a page that has some."""
    contents = (yaml.safe_load(block.text) for block in blocks_of(page) if block.language == "yaml")
    found: dict[str, Any] = next(each["budgets"] for each in contents if "budgets" in each)
    return found


def _exhausted(server: LocalCycles) -> None:
    server.set_budget("tenant:acme", allocated=0)


def _readme(server: LocalCycles, stub: Stub) -> None:
    asked = [each.operation for each in server.requests]
    assert asked == ["reserve", "commit", "reserve"], asked
    assert len(stub.requests) == 1, "the denied call was made all the same"


STAGES = {
    "README.md": Stage(before={1: _exhausted}, afterwards=_readme),
    "docs/production.md": Stage(
        names={"vault": {"cycles-url": "https://cycles.example.com", "cycles-key": "cyc_live_0123456789"}}
    ),
    "docs/shadow-mode.md": Stage(budgets={"tenant:acme": {"USD_MICROCENTS": 0}}),
    "docs/tutorial.md": Stage(budgets=None),
}


def stage_of(page: str) -> Stage:
    """The stage of a page; by default one with ample budgets for a tenant ``acme``."""
    return STAGES.get(page, Stage())

"""The guide's table of parameters: each has its name and its default, and accepts its type."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import pytest
from agents import Agent, Runner
from runcycles import AsyncCyclesClient, CommitOveragePolicy, CyclesConfig, Unit

from cycles_otel import CyclesRunHooks, ToolRiskConfig, ToolRiskMap
from cycles_otel.local import LocalCycles
from tests.guide.conftest import Models

CONFIG = CyclesConfig(base_url="http://localhost:7878", api_key="cyc_test_key", tenant="acme")


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Parameters
    ----------
    accepts: values of the type that the table names.
    """

    name: str
    default: Any
    accepts: tuple[Any, ...]

    def __str__(self) -> str:
        return self.name


ROWS = [
    Row("client", None, (None, AsyncCyclesClient(CONFIG))),
    Row("config", None, (None, CONFIG)),
    Row("tenant", None, (None, "acme")),
    Row("workspace", None, (None, "production")),
    Row("app", None, (None, "desk")),
    Row("workflow", None, (None, "support")),
    Row("agent", None, (None, "helper")),
    Row("tool_risk", {}, (None, {}, {"a": 0, "b": ToolRiskConfig(risk_points=10)}, ToolRiskMap(mapping={"a": 5}))),
    Row("default_tool_risk", 1, (0, 1, 100)),
    Row("llm_estimate", 500_000, (0, 5_000_000)),
    Row("llm_unit", Unit.USD_MICROCENTS, tuple(Unit)),
    Row("fail_open", True, (True, False)),
    Row("ttl_ms", 60_000, (1_000, 60_000, 86_400_000)),
    Row("overage_policy", CommitOveragePolicy.ALLOW_IF_AVAILABLE, tuple(CommitOveragePolicy)),
    Row("dry_run", False, (True, False)),
]
PARAMETERS = inspect.signature(CyclesRunHooks).parameters
each_row = pytest.mark.parametrize("row", ROWS, ids=str)


@each_row
def test_a_parameter_has_its_name_and_its_default(row: Row) -> None:
    default = PARAMETERS[row.name].default
    # No dict is shared between calls: None stands for an empty one.
    assert (default or {} if row.name == "tool_risk" else default) == row.default


each_value = pytest.mark.parametrize(
    ("row", "value"),
    [pytest.param(row, value, id=f"{row}-{number}") for row in ROWS for number, value in enumerate(row.accepts)],
)


@each_value
def test_a_parameter_accepts_its_type_by_name(row: Row, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYCLES_BASE_URL", CONFIG.base_url)
    monkeypatch.setenv("CYCLES_API_KEY", CONFIG.api_key)
    monkeypatch.setenv("CYCLES_TENANT", "acme")
    assert isinstance(CyclesRunHooks(**{row.name: value}), CyclesRunHooks)


def test_the_table_comes_first_and_in_its_order() -> None:
    assert list(PARAMETERS)[: len(ROWS)] == [row.name for row in ROWS]


def test_every_parameter_has_a_default() -> None:
    assert all(each.default is not inspect.Parameter.empty for each in PARAMETERS.values())


async def test_defaults_are_what_goes_on_the_wire(server: LocalCycles, models: Models) -> None:
    async with CyclesRunHooks(tenant="acme") as hooks:
        await Runner.run(Agent(name="helper"), "hello", hooks=hooks)
    body = server.requests[0].body
    assert body["estimate"] == {"unit": "USD_MICROCENTS", "amount": 500_000}
    assert (body["ttl_ms"], body["overage_policy"]) == (60_000, "ALLOW_IF_AVAILABLE")
    assert "dry_run" not in body
    assert body["subject"] == {"tenant": "acme", "agent": "helper"}

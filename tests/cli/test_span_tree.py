"""Traces as trees: each span below its parent, with what says most, in the unit of its budget."""

from __future__ import annotations

import re

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from rich.console import Console

from cycles_otel.cli.demo import span_tree
from tests.cli.desk import Desk


def drawn(trace: list[ReadableSpan], width: int = 120) -> list[str]:
    """The tree as a console of that width prints it; durations as n."""
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(span_tree.tree(trace))
    return [re.sub(r"\d+ ms", "n ms", line).rstrip() for line in captured.get().splitlines()]


@pytest.fixture
def stopped(worked: Desk) -> list[str]:
    return drawn(span_tree.shortest_denied_run(worked.witness.spans))


@pytest.fixture
def completed(worked: Desk) -> list[str]:
    return drawn(span_tree.shortest_run_with_heartbeat(worked.witness.spans))


class TestTree:
    def test_the_run_that_was_stopped_ends_with_the_denial(self, stopped: list[str]) -> None:
        assert re.fullmatch(r"cycles\.run triage  n ms  denied  trace [0-9a-f]{8}…", stopped[0])
        assert stopped[1] == "├── decide agent.run  n ms  ALLOW, $0.0070 asked for"
        assert stopped[-2:] == [
            "└── cycles.reservation tool.invoke  n ms  billing, send_email, denied  ⚡cycles.denied",
            "    └── reserve tool.invoke  n ms  DENY, BUDGET_EXCEEDED, it would have cost 50 pt",
        ]

    def test_a_commit_has_the_amount_of_its_reservation_once_in_its_unit(self, stopped: list[str]) -> None:
        reservation = next(number for number, line in enumerate(stopped) if "billing, gpt-4.1, committed" in line)
        (spent,) = re.findall(r"\$\d\.\d{4}", stopped[reservation])
        assert stopped[reservation + 2] == f"│   └── commit llm.completion  n ms  {spent}"

    def test_a_handoff_is_in_risk_points(self, stopped: list[str]) -> None:
        assert "├── event agent.handoff  n ms  billing, 0 pt" in stopped

    def test_the_run_that_is_shown_has_a_handoff_and_a_heartbeat(self, completed: list[str]) -> None:
        assert "completed" in completed[0]
        assert "│   ├── extend tool.invoke  n ms  heartbeat 1" in completed

    def test_nothing_is_cut_in_a_narrow_terminal(self, worked: Desk) -> None:
        narrow = drawn(span_tree.shortest_denied_run(worked.witness.spans), width=80)
        assert max(map(len, narrow)) <= 80
        assert "…" not in "".join(narrow[1:])

    def test_where_no_run_was_seen_nothing_is_shown(self) -> None:
        assert span_tree.shortest_denied_run([]) == []
        assert span_tree.shortest_run_with_heartbeat([]) == []

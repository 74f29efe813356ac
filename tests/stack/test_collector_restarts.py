"""What the queues of agent and gateway promise, whoever is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from cycles_otel.local import LocalCycles
from tests.stack.servers import eventually
from tests.stack.travelling import BUDGETS, Line, Workload, arrivals, line_of
from tests.telemetry.told import ToldSpan


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with line_of(tmp_path, COLLECTOR_SAMPLED_PERCENTAGE="0") as line:
        yield line


def denials(line: Line) -> None:
    """Runs that are denied, sent to the agent, which has taken all of it."""
    with LocalCycles(budgets=BUDGETS) as server:
        asyncio.run(Workload(server, line.travelling.witness).denied(5))
    line.travelling.send()


def ids(spans: list[ToldSpan]) -> set[str]:
    return {span.span_id for span in spans}


class TestQueues:
    def test_what_the_agent_took_while_the_gateway_was_dead_arrives_though_the_agent_is_killed_too(
        self, line: Line
    ) -> None:
        line.gateway.kill()
        denials(line)
        line.agent.kill()
        line.agent.start_again()
        line.gateway.start_again()
        assert ids(arrivals(line.back_end, line.travelling.sent)) == ids(line.travelling.sent)

    def test_what_the_gateway_keeps_while_the_back_end_is_away_arrives_though_the_gateway_is_killed(
        self, line: Line
    ) -> None:
        line.back_end.kill()
        denials(line)
        assert eventually(lambda: line.agent.says("exporter_queue_size"), lambda size: size == 0) == 0
        seen = "processor_tail_sampling_global_count_traces_sampled"
        assert eventually(lambda: line.gateway.says(seen, sampled="true"), lambda traces: traces == 5) == 5
        assert eventually(lambda: line.gateway.says("exporter_queue_size"), bool)
        line.gateway.kill()
        line.back_end.start_again()
        line.gateway.start_again()
        assert ids(arrivals(line.back_end, line.travelling.sent)) == ids(line.travelling.sent)

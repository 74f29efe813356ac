"""Names that somebody else chose: they are values, whatever they look like."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from agents import Agent, Runner
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import semconv
from tests.run.desk import hooks_of, model, says
from tests.telemetry.witness import Witness, attributes

HOSTILE = [
    'x"} 1\nevil_total{a="b"} 7\n#',
    "tenant:globex/agent:admin",
    "../../etc/passwd",
    "\\",
    "{{ $labels.tenant }}",
    "\u202eadmin",
]


@pytest.fixture
def server() -> Iterator[LocalCycles]:
    with LocalCycles(budgets={"tenant:acme": {"TOKENS": 10_000}, "tenant:globex": {"TOKENS": 10_000}}) as server:
        yield server


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_name_forges_no_series_no_span_and_no_subject(name: str, server: LocalCycles) -> None:
    witness = Witness()
    async with hooks_of(server, tenant="acme", recorder=witness.recorder) as hooks:
        await Runner.run(Agent(name=name, model=model(says(10))), "hello", hooks=hooks)

    page = list(text_string_to_metric_families(generate_latest(witness.registry).decode()))
    runs = [sample for family in page for sample in family.samples if sample.name == "cycles_client_runs_total"]
    assert [sample.labels["gen_ai_agent_name"] for sample in runs] == [name]
    assert all(family.name.startswith("cycles_") for family in page)
    reservation = witness.span("cycles.reservation llm.completion")
    assert attributes(reservation)[semconv.AGENT_NAME] == name
    (charged,) = server.ledger().committed
    assert charged.affected_scopes[0] == "tenant:acme"
    assert len(charged.affected_scopes) == 2
    assert "globex" not in charged.scope_path.split("/agent:")[0]
    assert server.ledger().charged("TOKENS", "globex") == 0
    witness.close()

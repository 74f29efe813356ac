"""A process that governs and exports, and then forks: both go on, and each counts what it did itself."""

from __future__ import annotations

import os

import pytest

from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import semconv
from tests.telemetry.otlp import GrpcReceiver, Receiver
from tests.telemetry.program import run_program

if not hasattr(os, "fork"):
    pytest.skip("the system cannot fork", allow_module_level=True)

PROGRAM = """
import asyncio, os, sys, urllib.request
from agents import Agent, RunConfig, Runner, Usage
from agents.testing import ModelStep, ScriptedModel, assistant_message
from cycles_otel import CyclesRunHooks, setup_telemetry

telemetry = setup_telemetry("desk", {set_up})
hooks = CyclesRunHooks(llm_unit="TOKENS", llm_estimate=100)

def run(name, tokens):
    usage = Usage(requests=1, input_tokens=tokens - 1, output_tokens=1, total_tokens=tokens)
    model = ScriptedModel([ModelStep(output=[assistant_message("done")], usage=usage)])
    config = RunConfig(tracing_disabled=True)
    asyncio.run(Runner.run(Agent(name=name, model=model), "hello", hooks=hooks, run_config=config))

def page():
    return urllib.request.urlopen(telemetry.metrics_url).read().decode()

def in_child(work):
    child = os.fork()
    if child == 0:
        work()
        sys.exit()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


def fork(server: LocalCycles, set_up: str, then: str, **more: str) -> str:
    environment = {
        "CYCLES_BASE_URL": server.url,
        "CYCLES_API_KEY": server.api_key,
        "CYCLES_TENANT": server.tenant,
        "CYCLES_RETRY_FLUSH_TIMEOUT": "30",
        **more,
    }
    return run_program(PROGRAM.format(set_up=set_up) + then, **environment)


@pytest.fixture
def server() -> LocalCycles:
    return LocalCycles(budgets={"tenant:acme": {"TOKENS": 1_000}})


class TestExport:
    def test_what_parent_and_child_did_is_charged_once_and_seen_once(self, server: LocalCycles) -> None:
        with server, Receiver() as receiver:
            fork(
                server,
                f"metrics='otlp', prometheus_port=None, otlp_endpoint={receiver.url!r}, flush_timeout=30",
                "run('parent', 11)\nassert in_child(lambda: run('child', 22)) == 0\nrun('parent', 33)\n",
            )
            assert server.ledger().charged("TOKENS") == 66
            assert not server.ledger().active
            names = [name for _, name in receiver.spans]
            runs = sorted(name for name in names if name.startswith("cycles.run"))
            assert runs == ["cycles.run child", "cycles.run parent", "cycles.run parent"]
            assert names.count("commit llm.completion") == 3
            assert sorted(receiver.last_sums(semconv.AMOUNT_COMMITTED_TOTAL.name).values()) == [22, 44]

    def test_so_it_is_by_grpc(self, server: LocalCycles) -> None:
        with server, GrpcReceiver() as receiver:
            fork(
                server,
                f"prometheus_port=None, otlp_endpoint={receiver.url!r}, flush_timeout=30",
                "run('parent', 11)\nassert telemetry.force_flush()\n"
                "assert in_child(lambda: run('child', 22)) == 0\nrun('parent', 33)\n",
                OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
            )
            names = [name for _, name in receiver.spans]
            assert names.count("commit llm.completion") == 3

    def test_the_program_s_own_metrics_go_on_in_the_child(self, server: LocalCycles) -> None:
        with server, Receiver() as receiver:
            fork(
                server,
                f"metrics='otlp', prometheus_port=None, otlp_endpoint={receiver.url!r}, flush_timeout=30",
                "from opentelemetry import metrics\n"
                "sold = metrics.get_meter('shop').create_counter('sold')\n"
                "assert in_child(lambda: sold.add(5)) == 0\n",
            )
            assert list(receiver.last_sums("sold").values()) == [5]


class TestPage:
    def test_the_page_stays_the_parent_s_and_a_child_s_own_shows_what_it_did(self, server: LocalCycles) -> None:
        committed = semconv.AMOUNT_COMMITTED_TOTAL.prometheus_name
        with server:
            output = fork(
                server,
                "prometheus_port=0",
                "def child():\n"
                "    assert telemetry.metrics_url is None\n"
                "    setup_telemetry(prometheus_port=0)\n"
                "    run('child', 22)\n"
                "    asyncio.run(hooks.aclose())\n"
                "    print(page(), flush=True)\n"
                "run('parent', 11)\n"
                "assert in_child(child) == 0\n"
                "asyncio.run(hooks.aclose())\n"
                "print(page())\n",
            )
            shown = [float(line.rsplit(" ", 1)[1]) for line in output.splitlines() if line.startswith(committed + "{")]
            assert shown == [22, 11]
            assert output.count(semconv.INFO.prometheus_name + "{") == 2, "the settings hold in the child too"

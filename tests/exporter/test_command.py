"""``cycles-otel exporter`` as a person, systemd or cron starts it: a process of its own."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from cycles_otel.cli.commands import PACE
from cycles_otel.exporter.pace import PACE_FIELDS, Pace
from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import Metric
from tests.cli.program import BOUND, Running, cycles_otel, ended, running
from tests.cli.test_command_line import WITHOUT
from tests.telemetry.otlp import Receiver

WHAT_IS_IMPORTED = """
import sys
from cycles_otel.cli import main
status = main(["exporter", "--once"])
print(status, [name for name in sys.modules if name in ("agents", "openai")])
"""


def samples(page: str, metric: Metric) -> list[Sample]:
    """The samples of a metric on the page."""
    found = (sample for family in text_string_to_metric_families(page) for sample in family.samples)
    return [sample for sample in found if sample.name == metric.prometheus_name]


def address(process: Running) -> str:
    """Where the exporter serves."""
    url = process.read_until("Metrics: ").split()[-1]
    process.read_until("Ctrl-C ends it.")
    return url


def page_with(url: str, metric: Metric, value: float) -> str:
    """The page, once a sample of the metric has the value."""
    deadline = time.monotonic() + BOUND / 2
    while True:
        page = httpx.get(url).text
        if any(sample.value == value for sample in samples(page, metric)):
            return page
        assert time.monotonic() < deadline, page
        time.sleep(0.02)


class TestServing:
    def test_it_serves_the_balances_and_ends_at_sigterm_with_status_0(self, server: LocalCycles) -> None:
        with running("exporter", "--port", "0", "--interval", "0.1", **server.environ()) as process:
            page = page_with(address(process), semconv.EXPORTER_UP, 1)
            done = process.signalled(signal.SIGTERM)
        allocated = {tuple(s.labels.values()): s.value for s in samples(page, semconv.BUDGETS["allocated"])}
        assert allocated[("tenant:acme/agent:triage", "acme", "TOKENS")] == 5_000
        assert "process_cpu_seconds_total" in page
        assert done.status == 0
        assert "Traceback" not in done.err
        assert server.api_key not in page + done.out + done.err

    def test_ctrl_c_ends_it_with_status_130(self, server: LocalCycles) -> None:
        with running("exporter", "--port", "0", **server.environ()) as process:
            page_with(address(process), semconv.EXPORTER_UP, 1)
            done = process.interrupt()
        assert (done.status, "Traceback" in done.err) == (130, False)

    @pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
    def test_a_poll_that_hangs_does_not_hold_up_the_end(
        self, server: LocalCycles, number: signal.Signals, status: int
    ) -> None:
        with server.hold("balances") as hold:
            with running("exporter", "--port", "0", "--timeout", "3600", **server.environ()) as process:
                address(process)
                hold.wait()
                done = process.signalled(number)
            assert (done.status, "Traceback" in done.err) == (status, False)

    def test_a_file_gives_several_targets(self, server: LocalCycles, tmp_path: Path) -> None:
        (tmp_path / "globex").write_text(server.api_key_for("globex"))
        config = tmp_path / "targets.yaml"
        config.write_text(f"""
interval: 0.1
base_url: {server.url}
targets:
  - {{tenant: acme, api_key_env: ACME_KEY}}
  - {{tenant: globex, api_key_file: {tmp_path / "globex"}, name: second}}
""")
        environment = {"ACME_KEY": server.api_key_for("acme"), "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "none")}
        with running("exporter", "--config", str(config), "--port", "0", **environment) as process:
            page = page_with(address(process), semconv.BUDGETS["allocated"], 700)
            process.signalled(signal.SIGTERM)
        assert {s.labels["cycles_exporter_target"] for s in samples(page, semconv.EXPORTER_INTERVAL)} == {
            "acme",
            "second",
        }

    def test_a_target_that_is_down_is_on_the_page_and_in_the_log(self) -> None:
        environment = {"CYCLES_BASE_URL": "http://127.0.0.1:9", "CYCLES_API_KEY": "cyc_test_x", "CYCLES_TENANT": "acme"}
        with running("exporter", "--port", "0", **environment) as process:
            page_with(address(process), semconv.EXPORTER_UP, 0)
            done = process.signalled(signal.SIGTERM)
        assert done.status == 0
        assert "WARNING Target acme is down: connection_error from http://127.0.0.1:9" in done.err

    def test_it_sends_by_otlp_where_asked(self, server: LocalCycles) -> None:
        with Receiver() as receiver:
            environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_METRIC_EXPORT_INTERVAL": "100"}
            with running("exporter", "--metrics", "otlp", **server.environ(), **environment) as process:
                process.read_until("Ctrl-C ends it.")
                deadline = time.monotonic() + BOUND / 2
                while semconv.BUDGETS["remaining"].name not in receiver.metrics:
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
                done = process.signalled(signal.SIGTERM)
            assert ("cycles-otel-exporter", "balances") in receiver.spans
        assert (done.status, "Metrics: " in done.out) == (0, False)


class TestOnce:
    def test_it_prints_the_page_and_nothing_else(self, server: LocalCycles) -> None:
        done = cycles_otel("exporter", "--once", **server.environ())
        assert done.status == 0
        assert {s.labels["cycles_scope_path"] for s in samples(done.out, semconv.BUDGETS["remaining"])} == {
            "tenant:acme",
            "tenant:acme/agent:triage",
        }
        # A textfile collector adds the page to its own, which has these.
        assert "process_" not in done.out
        assert "python_" not in done.out

    def test_a_target_that_is_down_is_status_1_and_on_the_page(self, server: LocalCycles) -> None:
        done = cycles_otel("exporter", "--once", **{**server.environ(), "CYCLES_API_KEY": "cyc_test_wrong"})
        assert done.status == 1
        assert [sample.value for sample in samples(done.out, semconv.EXPORTER_UP)] == [0]
        assert "Target acme is down: UNAUTHORIZED" in done.err

    def test_it_sends_by_otlp_where_asked_and_prints_nothing(self, server: LocalCycles) -> None:
        with Receiver() as receiver:
            environment = {**server.environ(), "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
            done = cycles_otel("exporter", "--once", "--metrics", "otlp", **environment)
            assert semconv.BUDGETS["remaining"].name in receiver.metrics
        assert (done.status, done.out) == (0, "")

    def test_it_sends_more_budgets_than_the_opentelemetry_sdk_tells_apart_by_itself(self) -> None:
        budgets = {f"tenant:acme/agent:a{number}": {"TOKENS": 1} for number in range(2_100)}
        with LocalCycles(budgets=budgets) as crowded, Receiver() as receiver:
            environment = {**crowded.environ(), "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
            assert cycles_otel("exporter", "--once", "--metrics", "otlp", **environment).status == 0
            assert receiver.scopes(semconv.BUDGETS["remaining"].name) == set(budgets)

    def test_the_agents_sdk_is_not_imported(self, server: LocalCycles) -> None:
        assert ended("-c", WHAT_IS_IMPORTED, **server.environ()).out.splitlines()[-1] == "0 []"


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--interval", "0"], "--interval=0.0 cannot be used; accepted: seconds, more than 0"),
            (["--stale-after", "0"], "--stale-after=0 cannot be used; accepted: a whole number of intervals from 1"),
            (["--jitter", "2"], "--jitter=2.0 cannot be used; accepted: a number from 0 to 0.5"),
            (["--timeout", "soon"], "--timeout: invalid float value: 'soon'"),
            (["--max-budgets", "0"], "--max-budgets: '0' is not accepted: a whole number from 1 on"),
            (["--metrics", "both-ways"], "--metrics: invalid choice: 'both-ways'"),
            (["--port", "99999"], "prometheus_port=99999 cannot be used; accepted: a number from 0 to 65535"),
            (["--config", "nothing.yaml"], "--config='nothing.yaml' cannot be used; accepted: a file that can be read"),
            ([], "CYCLES_BASE_URL='' cannot be used; accepted: an address such as http://localhost:7878; or give"),
        ],
    )
    def test_each_is_one_line_and_exit_status_2(self, arguments: list[str], said: str) -> None:
        environment = {"CYCLES_BASE_URL": "http://127.0.0.1:9", "CYCLES_API_KEY": "cyc_test_x"} if arguments else {}
        done = cycles_otel("exporter", *arguments, **environment)
        assert (done.status, done.err.count("\n")) == (2, 1), done.err
        assert done.err.startswith("cycles-otel exporter: ")
        assert said in done.err

    def test_a_file_without_the_package_that_reads_it_says_what_to_install(self) -> None:
        program = WITHOUT.replace("{command!r}", '"exporter", "--config", "targets.yaml"').format(missing="yaml")
        done = ended("-c", program)
        assert done.status == 2
        assert done.err == 'cycles-otel exporter: yaml is not installed: pip install "cycles-otel[cli]"\n'

    def test_metrics_that_the_environment_switches_off_are_refused(self) -> None:
        done = cycles_otel("exporter", CYCLES_OTEL_METRICS="none")
        assert done.status == 2
        assert "CYCLES_OTEL_METRICS='none' cannot be used; accepted: prometheus, otlp or both" in done.err


class TestHelp:
    def test_it_teaches_by_examples_and_says_the_defaults(self) -> None:
        done = cycles_otel("exporter", "--help")
        assert done.status == 0
        assert "cycles-otel exporter --config targets.yaml" in done.out
        assert "api_key_env: ACME_CYCLES_KEY" in done.out
        words = " ".join(done.out.split())
        for name in PACE_FIELDS:
            said = words.split(f"--{name.replace('_', '-')} ")[-1].split("(default: ")[1]
            assert said.startswith(f"{getattr(Pace(), name):g})"), name

    def test_every_number_of_a_pace_is_an_option(self) -> None:
        assert PACE == PACE_FIELDS

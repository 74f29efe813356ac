"""The doctor finds each broken set-up, and says what to mend."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import wrapt
from prometheus_client import CollectorRegistry, start_http_server
from runcycles import Unit

from cycles_otel import bracketing
from cycles_otel.budget.journal import Journal, KnownSpend
from cycles_otel.cli import main
from cycles_otel.doctor.examination import examine
from cycles_otel.doctor.finding import Finding, Status
from cycles_otel.doctor.setup import Asked
from cycles_otel.local import Fault, LocalCycles
from cycles_otel.telemetry import Recorder, semconv
from tests.telemetry.otlp import Receiver

BUDGETS = {"tenant:acme": {"USD_MICROCENTS": 10_000_000, "RISK_POINTS": 100}}
RESERVE, TOOL = "reserve USD_MICROCENTS", "reserve RISK_POINTS"


@pytest.fixture
def server() -> Iterator[LocalCycles]:
    with LocalCycles(budgets=BUDGETS) as server:
        yield server


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: LocalCycles) -> pytest.MonkeyPatch:
    """The environment of a program that is set up well."""
    for name, value in server.environ("acme").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CYCLES_JOURNAL_ENABLED", "true")
    monkeypatch.setenv("CYCLES_JOURNAL_DIR", str(tmp_path / "journal"))
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "PROMETHEUS_MULTIPROC_DIR"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves the same page at each address, with a clock that may be wrong by so many seconds."""
    with contextlib.ExitStack() as stack:

        def serve(status: int, page: bytes, clock: float = 0.0) -> str:
            class Page(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    self.send_response(status)
                    self.send_header("content-type", "application/json")
                    self.end_headers()
                    self.wfile.write(page)

                def date_time_string(self, timestamp: float | None = None) -> str:
                    return super().date_time_string(time.time() + clock)

                def log_message(self, *_: object) -> None:
                    pass

            http = HTTPServer(("127.0.0.1", 0), Page)
            thread = threading.Thread(target=http.serve_forever)
            thread.start()
            for end in (thread.join, http.server_close, http.shutdown):
                stack.callback(end)
            return f"http://127.0.0.1:{http.server_port}"

        yield serve


def found(**asked: Any) -> dict[str, Finding]:
    """The worst finding of each check."""
    worst: dict[str, Finding] = {}
    for finding in examine(Asked(**{"levels": {}, **asked})):
        if finding.check not in worst or finding.status is not Status.WELL:
            worst[finding.check] = finding
    return worst


def wrong(**asked: Any) -> dict[str, Finding]:
    return {check: finding for check, finding in found(**asked).items() if finding.status is Status.WRONG}


def unused_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class TestWell:
    def test_nothing_is_wrong_with_a_good_set_up(self, environ: pytest.MonkeyPatch, server: LocalCycles) -> None:
        assert wrong() == {}
        assert found()["key and tenant"].status is Status.WELL
        assert "10,000,000 left at tenant:acme" in found()[RESERVE].found

    def test_it_changes_nothing(self, environ: pytest.MonkeyPatch, server: LocalCycles, tmp_path: Path) -> None:
        before = server.ledger()
        found()
        after = server.ledger()
        assert (after.reservations, after.events) == (before.reservations, before.events) == ((), ())
        assert after.budgets == before.budgets
        assert list(tmp_path.iterdir()) == []

    def test_the_key_is_never_shown(self, environ: pytest.MonkeyPatch, server: LocalCycles) -> None:
        assert server.api_key not in str(list(found().values()))

    def test_a_deeper_budget_counts_and_free_names_are_named_as_the_server_has_them(
        self, environ: pytest.MonkeyPatch, server: LocalCycles
    ) -> None:
        assert wrong(levels={"agent": "Agent für Rückfragen " * 20}) == {}


def suspended(server: LocalCycles) -> None:
    server.set_tenant("acme", status="SUSPENDED")


def closed(server: LocalCycles) -> None:
    server.set_tenant("acme", status="CLOSED")


def budget(unit: str = "USD_MICROCENTS", **changes: Any) -> Callable[[LocalCycles], object]:
    return lambda server: server.set_budget("tenant:acme", unit, **changes)


def fault(**settings: Any) -> Callable[[LocalCycles], None]:
    return lambda server: server.inject(Fault(times=None, **settings))


class TestServer:
    @pytest.mark.parametrize(
        ("broken", "check", "says", "mend"),
        [
            (suspended, "key and tenant", "TENANT_SUSPENDED", "operator has to open the tenant acme"),
            (closed, "key and tenant", "TENANT_CLOSED", "operator has to open the tenant acme"),
            (budget(allocated=100), RESERVE, "BUDGET_EXCEEDED", "Fund the budget"),
            (budget(status="FROZEN"), RESERVE, "BUDGET_FROZEN", "unfreeze"),
            (budget(status="CLOSED"), RESERVE, "BUDGET_CLOSED", "create another one"),
            (budget(debt=5), RESERVE, "DEBT_OUTSTANDING", "Repay"),
            (budget(is_over_limit=True), RESERVE, "OVERDRAFT_LIMIT_EXCEEDED", "overdraft"),
            (budget("RISK_POINTS", allocated=0), TOOL, "BUDGET_EXCEEDED", "tool_risk"),
            (fault(body="<html>Sign in</html>"), "server", "_OTHER", "That is not Cycles"),
            (fault(status=503), "server", "INTERNAL_ERROR", "look at its log"),
            (fault(status=429), "server", "LIMIT_EXCEEDED", "limits requests"),
            (fault(delay=20.0), "server", "timeout", "did not answer within 0.3 s"),
            (fault(drop="before"), "server", "connection_error", "CYCLES_BASE_URL"),
        ],
    )
    def test_each_broken_server_is_found(
        self,
        environ: pytest.MonkeyPatch,
        server: LocalCycles,
        broken: Callable[[LocalCycles], object],
        check: str,
        says: str,
        mend: str,
    ) -> None:
        broken(server)
        findings = wrong(timeout=0.3 if mend.endswith("0.3 s") else 20.0)
        assert list(findings) == [check]
        assert says in findings[check].found
        assert mend in findings[check].mend

    def test_what_depends_on_an_answer_is_not_checked_without_one(self, environ: pytest.MonkeyPatch) -> None:
        environ.setenv("CYCLES_BASE_URL", f"http://127.0.0.1:{unused_port()}")
        findings = found()
        assert findings["server"].status is Status.WRONG
        assert "cycles-otel serve" in findings["server"].mend
        assert {findings[check].status for check in ("key and tenant", RESERVE, TOOL)} == {Status.SKIPPED}
        assert findings["journal"].status is Status.WELL

    def test_a_scope_without_any_budget_is_found(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        with LocalCycles(budgets={"tenant:acme/agent:triage": {"USD_MICROCENTS": 9, "RISK_POINTS": 9}}) as server:
            for name, value in server.environ("acme").items():
                monkeypatch.setenv(name, value)
            monkeypatch.setenv("CYCLES_JOURNAL_DIR", str(tmp_path))
            findings = wrong()
            assert set(findings) == {RESERVE, TOOL}
            assert "BUDGET_NOT_FOUND" in findings[RESERVE].found
            assert "Create a RISK_POINTS budget" in findings[TOOL].mend
            assert wrong(levels={"agent": "triage"}, llm_estimate=9) == {}

    def test_a_budget_in_another_unit_is_found(self, environ: pytest.MonkeyPatch, server: LocalCycles) -> None:
        findings = wrong(llm_unit=Unit.TOKENS)
        assert list(findings) == ["reserve TOKENS"]
        assert "UNIT_MISMATCH" in findings["reserve TOKENS"].found
        assert "Create a TOKENS budget" in findings["reserve TOKENS"].mend

    def test_tools_that_cost_nothing_need_no_budget(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        with LocalCycles(budgets={"tenant:acme": {"USD_MICROCENTS": 10_000_000}}) as server:
            for name, value in server.environ("acme").items():
                monkeypatch.setenv(name, value)
            monkeypatch.setenv("CYCLES_JOURNAL_DIR", str(tmp_path))
            assert list(wrong()) == [TOOL]
            assert "default_tool_risk=0" in wrong()[TOOL].mend
            assert wrong(tool_risk=0) == {}

    @pytest.mark.parametrize(("seconds", "which"), [(-3600, "ahead of"), (3600, "behind")])
    def test_a_clock_that_is_wrong_is_noted(
        self, environ: pytest.MonkeyPatch, serve: Serve, seconds: int, which: str
    ) -> None:
        refusal = b'{"error": "UNAUTHORIZED", "message": "no such key", "request_id": "r"}'
        environ.setenv("CYCLES_BASE_URL", serve(401, refusal, seconds))
        assert found()["clock"].status is Status.NOTE
        assert which in found()["clock"].found


class TestEnvironment:
    @pytest.mark.parametrize(
        ("variable", "value", "says"),
        [
            ("CYCLES_BASE_URL", None, "CYCLES_BASE_URL"),
            ("CYCLES_BASE_URL", "localhost:7878", "base_url='localhost:7878'"),
            ("CYCLES_API_KEY", None, "CYCLES_API_KEY"),
            ("CYCLES_TENANT", None, "no tenant"),
            ("CYCLES_TENANT", "Acme GmbH", "tenant='Acme GmbH'"),
            ("CYCLES_READ_TIMEOUT", "soon", "soon"),
        ],
    )
    def test_a_set_up_that_is_none_is_found(
        self, environ: pytest.MonkeyPatch, variable: str, value: str | None, says: str
    ) -> None:
        environ.delenv(variable) if value is None else environ.setenv(variable, value)
        findings = found()
        assert [check for check, each in findings.items() if each.status is Status.WRONG] == ["environment"]
        assert says in findings["environment"].found
        assert findings["server"].status is Status.SKIPPED

    def test_a_key_that_nobody_knows_is_found(self, environ: pytest.MonkeyPatch) -> None:
        environ.setenv("CYCLES_API_KEY", "cyc_live_of_nobody")
        findings = wrong()
        assert list(findings) == ["key and tenant"]
        assert "CYCLES_API_KEY" in findings["key and tenant"].mend
        assert "of_nobody" not in str(findings)

    def test_a_key_of_another_tenant_is_found(self, environ: pytest.MonkeyPatch) -> None:
        findings = wrong(levels={"tenant": "globex"})
        assert list(findings) == ["key and tenant"]
        assert "key of the tenant globex" in findings["key and tenant"].mend

    def test_a_key_in_plain_text_is_noted(self, environ: pytest.MonkeyPatch) -> None:
        environ.setenv("CYCLES_BASE_URL", "http://203.0.113.1:1")
        assert any("https" in finding.mend for finding in examine(Asked({}, timeout=0.05)))

    def test_a_login_in_the_address_is_not_shown(self, environ: pytest.MonkeyPatch, server: LocalCycles) -> None:
        environ.setenv("CYCLES_BASE_URL", server.url.replace("//", "//user:secret@"))
        assert "secret" not in str(list(found().values()))


class TestProgram:
    def test_an_sdk_whose_runs_cannot_be_bracketed_is_found(self, environ: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise AttributeError

        environ.setattr(wrapt, "wrap_function_wrapper", refuse)
        environ.setattr("cycles_otel.doctor.program.BRACKETING", bracketing.Bracketing())
        assert "AgentRunner.run" in wrong()["runs"].found


class TestJournal:
    def test_a_file_in_its_place_is_found(self, environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "journal").write_text("")
        findings = wrong()
        assert list(findings) == ["journal"]
        assert "CYCLES_JOURNAL_DIR" in findings["journal"].mend

    def test_one_that_is_switched_off_is_noted(self, environ: pytest.MonkeyPatch) -> None:
        environ.setenv("CYCLES_JOURNAL_ENABLED", "false")
        assert found()["journal"].status is Status.NOTE

    @pytest.mark.parametrize("is_alive", [True, False])
    def test_what_waits_is_found_where_nobody_sends_it(
        self, environ: pytest.MonkeyPatch, server: LocalCycles, tmp_path: Path, is_alive: bool
    ) -> None:
        journal = Journal(server.config("acme", journal_enabled=True, journal_dir=str(tmp_path / "journal")), print)
        journal.record(KnownSpend("res_1", {"actual": {"unit": "TOKENS", "amount": 5}}, None))
        (file,) = (tmp_path / "journal").rglob("*.json")
        file.write_text(json.dumps({**json.loads(file.read_text()), "recorded_at_ms": 0}))
        if not is_alive:
            journal.close()
        assert found()["pending"].status is (Status.NOTE if is_alive else Status.WRONG)
        assert ("journal replay" in found()["pending"].mend) is not is_alive
        journal.close()


class TestTelemetry:
    def test_a_receiver_that_takes_traces_is_well(self, environ: pytest.MonkeyPatch) -> None:
        with Receiver() as receiver:
            environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
            assert found()["OTLP"].status is Status.WELL
            assert receiver.spans == []

    @pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
    def test_a_receiver_that_is_not_there_is_found(self, environ: pytest.MonkeyPatch, protocol: str) -> None:
        environ.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{unused_port()}")
        assert "Start the collector" in wrong()["OTLP"].mend

    def test_something_else_at_its_address_is_found(self, environ: pytest.MonkeyPatch, server: LocalCycles) -> None:
        environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
        assert "4318" in wrong()["OTLP"].mend

    def test_a_page_of_metrics_is_well_where_it_has_ours(self, environ: pytest.MonkeyPatch) -> None:
        registry = CollectorRegistry()
        Recorder(metrics="prometheus", registry=registry).metrics.record(semconv.RESERVATIONS_ACTIVE, 1, ("llm",))
        httpd, thread = start_http_server(0, "127.0.0.1", registry)
        url = f"http://127.0.0.1:{httpd.server_port}/metrics"
        assert found(metrics_url=url)["/metrics"].status is Status.WELL
        httpd.shutdown()
        httpd.server_close()
        thread.join()
        assert "setup_telemetry()" in wrong(metrics_url=url)["/metrics"].mend

    def test_a_page_of_another_program_is_found(self, environ: pytest.MonkeyPatch, serve: Serve) -> None:
        another_page = f"{serve(200, b'up 1')}/metrics"
        assert "the port was taken?" in wrong(metrics_url=another_page)["/metrics"].mend

    def test_a_folder_of_metrics_that_is_missing_or_not_empty_is_found(
        self, environ: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        environ.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "metrics"))
        assert "before the program starts" in wrong()["metrics folder"].mend
        (tmp_path / "metrics").mkdir()
        assert found()["metrics folder"].status is Status.WELL
        (tmp_path / "metrics" / "counter_1.db").write_text("")
        assert found()["metrics folder"].status is Status.NOTE


class TestCommand:
    def test_its_status_is_that_of_the_set_up(
        self, environ: pytest.MonkeyPatch, server: LocalCycles, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["doctor"]) == 0
        assert "Nothing to mend." in capsys.readouterr().out
        server.set_budget("tenant:acme", "USD_MICROCENTS", status="FROZEN")
        assert main(["doctor"]) == 1
        out = capsys.readouterr().out
        assert "An operator has to unfreeze the budget." in out
        assert "1 to mend." in out
        assert "\x1b" not in out

    def test_json_has_it_all(self, environ: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["doctor", "--json", "--llm-unit", "TOKENS", "--tool-risk", "0"]) == 1
        said = json.loads(capsys.readouterr().out)
        assert said["well"] is False
        assert {each["check"]: each["status"] for each in said["findings"]}["reserve TOKENS"] == "mend"

    @pytest.mark.parametrize("option", [["--llm-unit", "EURO"], ["--llm-estimate", "-1"], ["--timeout", "never"]])
    def test_a_wrong_option_is_named_in_one_line(self, option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["doctor", *option])
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert option[0] in said
        assert said.count("\n") == 1

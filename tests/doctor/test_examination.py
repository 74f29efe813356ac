"""The doctor finds each broken set-up, and says what to mend."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import wrapt
from runcycles import CyclesConfig, Unit

from cycles_otel import bracketing
from cycles_otel.budget.journal import Journal, KnownSpend
from cycles_otel.cli import main
from cycles_otel.doctor.examination import examine
from cycles_otel.doctor.finding import Status
from cycles_otel.doctor.setup import Asked
from cycles_otel.local import Fault, LocalCycles
from tests.cli.terminal import on_a_terminal
from tests.doctor.conftest import BUDGETS, Serve
from tests.doctor.looking import found, unused_port, wrong

RESERVE, TOOL = "reserve USD_MICROCENTS", "reserve RISK_POINTS"


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
        assert "the budgets on the way are in RISK_POINTS, USD_MICROCENTS" in findings["reserve TOKENS"].found
        assert "Create a TOKENS budget" in findings["reserve TOKENS"].mend

    def test_tools_that_cost_nothing_need_no_budget(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        with LocalCycles(budgets={"tenant:acme": {"USD_MICROCENTS": 10_000_000}}) as server:
            for name, value in server.environ("acme").items():
                monkeypatch.setenv(name, value)
            monkeypatch.setenv("CYCLES_JOURNAL_DIR", str(tmp_path))
            assert list(wrong()) == [TOOL]
            assert "default_tool_risk=0" in wrong()[TOOL].mend
            assert wrong(tool_risk=0) == {}

    @pytest.mark.parametrize(
        ("broken", "says", "mend"),
        [
            ({"status": 503}, "INTERNAL_ERROR", "look at its log"),
            ({"body": "<html>Sign in</html>"}, "_OTHER", "That is not Cycles"),
            ({"drop": "before"}, "connection_error", "set CYCLES_BASE_URL"),
            ({"status": 403}, "FORBIDDEN", "be allowed to reserve"),
        ],
    )
    def test_a_reserve_alone_that_fails_is_found(
        self, environ: pytest.MonkeyPatch, server: LocalCycles, broken: dict[str, Any], says: str, mend: str
    ) -> None:
        server.inject(Fault("reserve", times=None, **broken))
        findings = wrong(timeout=20.0)
        assert list(findings) == [RESERVE, TOOL]
        assert says in findings[TOOL].found
        assert mend in findings[TOOL].mend

    def test_a_server_that_never_comes_to_an_end_is_found(self, environ: pytest.MonkeyPatch, dripping: str) -> None:
        environ.setenv("CYCLES_BASE_URL", dripping)
        findings = wrong(timeout=0.2)
        assert list(findings) == ["server"]
        assert findings["server"].found.startswith("timeout: ")

    def test_a_server_may_take_the_time_that_the_program_gives_it(
        self, environ: pytest.MonkeyPatch, server: LocalCycles
    ) -> None:
        environ.setenv("CYCLES_READ_TIMEOUT", "0.3")
        server.inject(Fault(delay=20.0, times=None))
        assert "did not answer within 0.3 s" in wrong()["server"].mend

    def test_a_server_without_tls_is_found(self, environ: pytest.MonkeyPatch, server: LocalCycles) -> None:
        environ.setenv("CYCLES_BASE_URL", server.url.replace("http:", "https:"))
        assert "Check https in CYCLES_BASE_URL" in wrong()["server"].mend

    def test_every_page_of_the_budgets_is_read(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        budgets = {f"tenant:acme/agent:a{number:03}": BUDGETS["tenant:acme"] for number in range(250)}
        with LocalCycles(budgets=budgets) as server:
            for name, value in server.environ("acme").items():
                monkeypatch.setenv(name, value)
            assert "100 left at tenant:acme/agent:a249" in found(levels={"agent": "a249"})[TOOL].found
            assert "a24 " not in found(levels={"agent": "a249"})[TOOL].found

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
            ("CYCLES_BASE_URL", " http://localhost:7878", "base_url=' http://localhost:7878'"),
            ("CYCLES_API_KEY", None, "CYCLES_API_KEY"),
            ("CYCLES_TENANT", None, "no tenant"),
            ("CYCLES_TENANT", "Acme GmbH", "tenant='Acme GmbH'"),
            ("CYCLES_READ_TIMEOUT", "soon", "CYCLES_READ_TIMEOUT='soon' is no number"),
            ("CYCLES_READ_TIMEOUT", "0", "seconds above 0"),
            ("CYCLES_CONNECT_TIMEOUT", "nan", "seconds above 0"),
            ("CYCLES_RETRY_MAX_ATTEMPTS", "2.5", "CYCLES_RETRY_MAX_ATTEMPTS='2.5' is no number"),
            ("CYCLES_RETRY_INITIAL_DELAY", "-1", "0 or more"),
            ("CYCLES_API_KEY", "cyc_live_secret\n", "printable ASCII"),
            ("CYCLES_API_KEY", "schlüssel", "printable ASCII"),
            ("CYCLES_BASE_URL", "ftp://user:secret@localhost", "an address such as"),
        ],
    )
    def test_a_set_up_that_is_none_is_found(
        self, environ: pytest.MonkeyPatch, variable: str, value: str | None, says: str
    ) -> None:
        environ.delenv(variable) if value is None else environ.setenv(variable, value)
        findings = found()
        assert [check for check, each in findings.items() if each.status is Status.WRONG] == ["environment"]
        assert says in findings["environment"].found
        assert variable in f"{findings['environment'].found} {findings['environment'].mend}"
        assert "secret" not in str(findings)
        assert "schl" not in str(findings)
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
        assert "CYCLES_TENANT=acme, whose key this is" in findings["key and tenant"].mend

    def test_a_key_that_may_not_read_balances_can_reserve_all_the_same(
        self, environ: pytest.MonkeyPatch, server: LocalCycles
    ) -> None:
        headers = {"X-Cycles-Tenant": "acme"}
        server.inject(Fault("balances", status=403, headers=headers, times=None))
        assert wrong() == {}
        assert "may not read its balances" in found()["key and tenant"].found
        assert found()[RESERVE].status is Status.WELL

    def test_a_key_in_plain_text_is_noted(self, environ: pytest.MonkeyPatch) -> None:
        environ.setenv("CYCLES_BASE_URL", "http://203.0.113.1:1")
        assert any("https" in finding.mend for finding in examine(Asked({}, timeout=0.05)))

    def test_a_login_in_the_address_is_not_shown(self, environ: pytest.MonkeyPatch, server: LocalCycles) -> None:
        environ.setenv("CYCLES_BASE_URL", server.url.replace("//", "//user:secret@"))
        assert "secret" not in str(list(found().values()))

    def test_a_path_in_the_address_is_noted(self, environ: pytest.MonkeyPatch, server: LocalCycles) -> None:
        environ.setenv("CYCLES_BASE_URL", f"{server.url}/v1")
        assert "requests go to /v1/v1/" in found()["environment"].found
        assert "/v1/v1/balances" in wrong()["key and tenant"].found

    @pytest.mark.parametrize("variable", ["CYCLES_RETRY_ENABLED", "CYCLES_JOURNAL_ENABLED"])
    def test_a_switch_that_is_neither_true_nor_false_is_noted(self, environ: pytest.MonkeyPatch, variable: str) -> None:
        environ.setenv(variable, "yes")
        assert f"{variable}='yes' counts as false" in found()["environment"].found


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

    def test_a_file_in_the_place_of_the_tenants_own_is_found(self, environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
        directory = Journal(CyclesConfig.from_env(), print).directory
        assert directory is not None
        directory.parent.mkdir()
        directory.write_text("")
        assert list(wrong()) == ["journal"]

    def test_a_folder_that_nobody_can_make_is_found(self, environ: pytest.MonkeyPatch) -> None:
        environ.setenv("CYCLES_JOURNAL_DIR", "/dev/null/journal")
        assert "/dev/null/journal cannot be written" in wrong()["journal"].found
        assert found()["pending"].status is Status.SKIPPED

    def test_what_waits_for_another_tenant_is_noted(
        self, environ: pytest.MonkeyPatch, server: LocalCycles, tmp_path: Path
    ) -> None:
        config = replace(CyclesConfig.from_env(), tenant="globex")
        journal = Journal(config, print)
        journal.record(KnownSpend("res_1", {"actual": {"unit": "TOKENS", "amount": 5}}, None, known_since=0.0))
        journal.close()
        assert wrong() == {}
        assert "1 more belong to no live process" in found()["pending"].found

    def test_a_record_that_cannot_be_read_is_noted(self, environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
        directory = Journal(CyclesConfig.from_env(), print).directory
        assert directory is not None
        directory.mkdir(parents=True)
        (directory / "v2-broken.json").write_text("{")
        assert "1 records cannot be read" in found()["pending"].found
        assert "v2-broken.json" in found()["pending"].mend
        assert [file.name for file in directory.iterdir()] == ["v2-broken.json"]

    def test_one_that_is_switched_off_is_noted(self, environ: pytest.MonkeyPatch) -> None:
        environ.setenv("CYCLES_JOURNAL_ENABLED", "false")
        assert found()["journal"].status is Status.NOTE

    @pytest.mark.parametrize("is_alive", [True, False])
    def test_what_waits_is_found_where_nobody_sends_it(
        self, environ: pytest.MonkeyPatch, server: LocalCycles, tmp_path: Path, is_alive: bool
    ) -> None:
        journal = Journal(server.config("acme", journal_enabled=True, journal_dir=str(tmp_path / "journal")), print)
        journal.record(KnownSpend("res_1", {"actual": {"unit": "TOKENS", "amount": 5}}, None, known_since=0.0))
        if not is_alive:
            journal.close()
        assert found()["pending"].status is (Status.NOTE if is_alive else Status.WRONG)
        assert ("journal replay" in found()["pending"].mend) is not is_alive
        journal.close()


class TestCommand:
    def test_the_page_about_it_has_every_check(self, environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
        environ.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
        page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
        table = page.partition("| check | what it looks at")[2].partition("\n\n")[0]
        documented = {name.strip() for row in table.splitlines()[2:] for name in row.split("|")[1].split(",")}
        assert {"reserve …" if check.startswith("reserve") else check for check in found()} <= documented

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

    def test_a_terminal_shows_the_same_in_colours(self, environ: pytest.MonkeyPatch, server: LocalCycles) -> None:
        server.set_budget("tenant:acme", "USD_MICROCENTS", status="FROZEN")
        screen = on_a_terminal("doctor")
        assert screen.status == 1
        assert "An operator has to unfreeze the budget." in screen.raw
        assert "\x1b[1;31mmend" in screen.raw

    @pytest.mark.parametrize(("level", "value"), [("--agent", ""), ("--tenant", "two words")])
    def test_a_level_that_is_not_accepted_is_named_in_one_line(
        self, environ: pytest.MonkeyPatch, level: str, value: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["doctor", level, value]) == 2
        said = capsys.readouterr()
        assert said.err.startswith(f"cycles-otel doctor: {level.strip('-')}={value!r} is not accepted: ")
        assert (said.out, said.err.count("\n")) == ("", 1)

    @pytest.mark.parametrize(
        "option",
        [
            ["--llm-unit", "EURO"],
            ["--llm-estimate", "-1"],
            ["--llm-estimate", str(2**63)],
            ["--tool-risk", "some"],
            ["--timeout", "never"],
            ["--metrics-url", "localhost:9464"],
            ["--metrics-url", "http://[::1"],
        ],
    )
    def test_a_wrong_option_is_named_in_one_line(self, option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["doctor", *option])
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert option[0] in said
        assert said.count("\n") == 1

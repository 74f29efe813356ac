"""The demo as a person sees it: lines on a pipe, the live view on a terminal, and each way in which it ends."""

from __future__ import annotations

import re
import socket
from urllib.request import urlopen

import pytest

from tests.cli.desk import Desk
from tests.cli.program import Ended, Traced, cycles_otel, ended, running
from tests.cli.terminal import on_a_terminal

OVERCHARGED = """
import sys

from runcycles import CyclesClient

from cycles_otel.cli import main
from cycles_otel.cli.demo import stage
from cycles_otel.local import LocalCycles

class ChargedElsewhere(LocalCycles):
    def ledger(self):
        event = {
            "idempotency_key": "elsewhere",
            "subject": {"tenant": "hooli"},
            "action": {"kind": "llm.completion", "name": "gpt-4.1"},
            "actual": {"unit": "USD_MICROCENTS", "amount": 5},
        }
        with CyclesClient(self.config("hooli")) as client:
            assert client.create_event(event).is_success
        return super().ledger()

stage.LocalCycles = ChargedElsewhere
sys.exit(main(["demo", "--customers", "1", "--seed", "24"]))
"""
"""The demo on a server at which somebody else charges the budget of hooli, too."""


class TestPlainLines:
    def test_it_ends_well_and_without_noise(self, demo: Ended) -> None:
        assert (demo.status, demo.err) == (0, "")

    def test_the_last_line_is_the_proof_with_both_sums(self, demo: Ended, worked: Desk) -> None:
        ledger = worked.server.ledger()
        dollars, points = ledger.charged("USD_MICROCENTS"), ledger.charged("RISK_POINTS")
        assert demo.lines[-1] == (
            f"telemetry = ledger  microcents {dollars:,} = {dollars:,}, points {points:,} = {points:,}"
        )

    def test_progress_has_customers_steps_denials_heartbeats_and_budgets(self, demo: Ended) -> None:
        progress = [line for line in demo.lines if re.match(r" +\d+\.\d s ", line)]
        assert re.fullmatch(
            r" +\d+\.\d s +4/4 customers +\d+ steps \(\d+/s\)  2 denied  [1-9]\d* heartbeats"
            r"  acme \d+%  globex \d+%  initech 0%  hooli \d+%",
            progress[-1],
        ), progress[-1]

    def test_each_denial_is_told_once_with_what_it_would_have_cost(self, demo: Ended) -> None:
        denied = [line.strip() for line in demo.lines if line.startswith("         DENIED")]
        assert sorted(denied) == [
            "DENIED  hooli #1: billing denied send_email, would have cost 50 pt (BUDGET_EXCEEDED)",
            "DENIED  initech #2: turned away, would have cost about $0.0070 (BUDGET_EXCEEDED)",
        ]

    def test_the_summary_has_the_spend_by_agent_tool_and_model(self, demo: Ended) -> None:
        for title in ("Spent by agent", "Spent by tool", "Spent by model"):
            assert title in demo.out
        for row in (r"^triage +\$0\.\d{4}", r"send_email +50 pt", r"^gpt-4\.1 +\$0\.\d{4} +[\d,]+ +[\d,]+ +[\d,]+"):
            assert re.search(row, demo.out, re.MULTILINE), row

    def test_the_summary_says_what_was_denied_and_why(self, demo: Ended) -> None:
        assert demo.words_after("hooli    billing") == ["tool.invoke", "BUDGET_EXCEEDED", "1", "50", "pt"]
        assert demo.words_after("initech   triage") == ["agent.run", "BUDGET_EXCEEDED", "1", "$0.0070"]

    def test_spans_are_shown_in_the_unit_of_their_budget(self, demo: Ended) -> None:
        assert re.search(r"─ commit llm\.completion  \d+ ms  \$0\.\d{4}$", demo.out, re.MULTILINE)
        assert re.search(r"─ commit tool\.invoke  \d+ ms  \d+ pt$", demo.out, re.MULTILINE)
        assert re.search(r"─ event agent\.handoff  \d+ ms  \w+, 0 pt$", demo.out, re.MULTILINE)
        assert re.search(r"─ reserve tool\.invoke .* DENY, BUDGET_EXCEEDED, it would have cost 50 pt$", demo.out, re.M)

    def test_lines_of_the_metrics_page_are_shown(self, demo: Ended) -> None:
        assert re.search(r'^cycles_client_decisions_total\{.*cycles_decision="DENY".*\} 1\.0$', demo.out, re.M)
        assert '=""' not in demo.out

    def test_nothing_but_an_excerpt_of_metrics_is_wider_than_the_page(self, demo: Ended) -> None:
        assert all(len(line) <= 120 for line in demo.lines if not line.startswith("cycles_"))

    def test_the_same_seed_spends_and_denies_the_same(self, demo: Ended, traced: Traced) -> None:
        def summary(done: Ended) -> list[str]:
            return done.lines[done.lines.index(done.line("Spent by agent")) : -1]

        tables = summary(demo)
        tables = tables[: tables.index("") + 1 + tables[tables.index("") + 1 :].index("")]
        assert summary(traced.demo)[: len(tables)] == tables
        assert traced.demo.lines[-1] == demo.lines[-1]


class TestTerminal:
    @pytest.mark.parametrize(("columns", "lines", "no_color"), [(120, 45, ""), (80, 24, "1")])
    def test_the_live_view_fits_and_shows_budgets_spend_and_denials(
        self, columns: int, lines: int, no_color: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NO_COLOR", no_color)
        screen = on_a_terminal("demo", "--customers", "2", "--seed", "19", columns=columns, lines=lines)
        assert screen.status == 0
        assert max(len(line) for line in screen.frame) <= columns
        assert len(screen.frame) <= lines
        drawn = "\n".join(screen.frame)
        for title in ("Budgets", "Spend by agent", "Last denials"):
            assert f"─ {title} ─" in drawn
        assert re.search(r" 2/2 customers, 0 now  \d+ steps, \d+/s  2 denied  \d+ heartbeats", drawn)
        assert re.search(r"│ initech +━* +\$0\.0000 of \$0\.0030 .* 1 denied", drawn)
        assert "hooli #1: billing denied send_email, would have cost 50 pt" in drawn
        assert bool(re.search(r"\x1b\[[\d;]*3[1-7]m", screen.raw)) is not bool(no_color)


class TestDifference:
    def test_it_is_told_and_the_exit_status_is_1(self) -> None:
        done = ended("-c", OVERCHARGED)
        assert (done.status, done.err) == (1, "")
        assert "telemetry ≠ ledger" in done.lines
        assert re.search(r"^  microcents [\d,]+ ≠ [\d,]+  \(difference -5\)$", done.out, re.MULTILINE)
        assert re.search(r"^  hooli USD_MICROCENTS [\d,]+ ≠ [\d,]+  \(difference -5\)$", done.out, re.MULTILINE)
        assert "telemetry = ledger" not in done.out


class TestOtlp:
    def test_the_traces_go_to_the_endpoint(self, traced: Traced) -> None:
        assert traced.demo.status == 0
        assert f"The traces were sent to {traced.url}." in traced.demo.lines
        assert {service for service, _ in traced.spans} == {"cycles-otel-demo"}
        requests = re.search(r"requests on the wire \(([\d,]+) each\)", traced.demo.out)
        assert requests is not None
        calls = ("reserve", "commit", "release", "extend", "decide", "event")
        assert sum(name.split()[0] in calls for _, name in traced.spans) == int(requests[1].replace(",", ""))

    def test_a_receiver_that_is_not_there_is_told_and_the_proof_decides(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}"
            done = cycles_otel("demo", "--customers", "1", "--seed", "24", "--otlp", url)
        assert (done.status, done.err) == (0, "")
        assert f"{url} did not take the traces." in done.lines
        assert done.lines[-1].startswith("telemetry = ledger")


class TestEnds:
    def test_ctrl_c_in_the_middle_ends_it_at_once(self) -> None:
        with running("demo") as process:
            process.read_until(" customers  ")
            done = process.interrupt()
        assert (done.status, done.err) == (130, "")
        assert "telemetry" not in done.out

    def test_a_reader_that_goes_away_ends_it_without_a_word(self) -> None:
        with running("demo", "--customers", "2") as process:
            process.read_until("support desk")
            done = process.stop_reading()
        assert (done.status, done.err) == (141, "")

    def test_serving_goes_on_with_fresh_budgets_until_ctrl_c(self) -> None:
        with running("demo", "--customers", "1", "--seed", "24", "--serve") as process:
            process.read_until("telemetry = ledger")
            url = process.read_until("The desk goes on").split()[6].rstrip(".;")
            process.read_until("1/1 customers")
            process.read_until("0/1 customers")
            with urlopen(url, timeout=10) as page:
                text = page.read().decode()
            done = process.interrupt()
        # One customer is of hooli, who had $0.03 for it, and got as much again for each round.
        allocated = re.search(r'cycles_budget_allocated\{[^}]*tenant:hooli"[^}]*USD[^}]*\} (\S+)', text)
        assert allocated is not None
        assert float(allocated[1]) >= 2 * 3_000_000
        assert (done.status, done.err) == (0, "")

"""``cycles-otel journal``: what waits is shown, and what belongs to nobody is sent once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from runcycles import CyclesConfig

from cycles_otel.budget.journal import Journal, KnownSpend
from cycles_otel.cli import main
from cycles_otel.local import Fault, LocalCycles


@pytest.fixture
def server() -> Iterator[LocalCycles]:
    with LocalCycles(budgets={"tenant:acme": {"TOKENS": 1_000}}) as server:
        yield server


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, server: LocalCycles, tmp_path: Path) -> CyclesConfig:
    for name, value in server.environ("acme").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CYCLES_JOURNAL_ENABLED", "true")
    monkeypatch.setenv("CYCLES_JOURNAL_DIR", str(tmp_path))
    monkeypatch.setenv("CYCLES_RETRY_INITIAL_DELAY", "0.05")
    return CyclesConfig.from_env()


def note(config: CyclesConfig, *amounts: int) -> Journal:
    """A journal of a process that lives, with a spend of each amount."""
    journal = Journal(config, lambda error: pytest.fail(str(error)))
    for amount in amounts:
        charge = {
            "idempotency_key": f"step-{amount}-commit",
            "subject": {"tenant": "acme"},
            "action": {"kind": "llm.completion", "name": "gpt-4o"},
            "actual": {"unit": "TOKENS", "amount": amount},
        }
        assert journal.record(KnownSpend(f"step-{amount}", None, charge))
    return journal


def spent(server: LocalCycles) -> int:
    return server.ledger().budget("tenant:acme", "TOKENS").spent


class TestList:
    def test_what_waits_is_shown_with_its_owner(self, config: CyclesConfig, capsys: pytest.CaptureFixture[str]) -> None:
        note(config, 30).close()
        alive = note(config, 70)
        assert main(["journal", "list", "--json"]) == 0
        shown = {each["amount"]: each for each in json.loads(capsys.readouterr().out)}
        assert {amount: each["alive"] for amount, each in shown.items()} == {30: False, 70: True}
        assert shown[30]["kind"] == "event"
        assert (shown[30]["unit"], shown[30]["tenant"], shown[30]["id"]) == ("TOKENS", "acme", "step-30")
        assert main(["journal", "list"]) == 0
        out = capsys.readouterr().out
        assert "30 TOKENS" in out
        assert "2 waiting" in out
        assert "1 of them belong to live processes" in out
        alive.close()

    def test_it_changes_nothing(self, config: CyclesConfig, server: LocalCycles, tmp_path: Path) -> None:
        note(config, 30).close()
        before = sorted(tmp_path.rglob("*"))
        assert main(["journal", "list"]) == 0
        assert sorted(tmp_path.rglob("*")) == before
        assert server.requests == ()

    def test_an_empty_one_says_so(
        self, config: CyclesConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["journal", "list", "--dir", str(tmp_path / "none")]) == 0
        assert capsys.readouterr().out.startswith("Nothing waits in")


class TestReplay:
    def test_what_belongs_to_nobody_is_charged_once(
        self, config: CyclesConfig, server: LocalCycles, capsys: pytest.CaptureFixture[str]
    ) -> None:
        note(config, 30, 50).close()
        alive = note(config, 70)
        assert main(["journal", "replay"]) == 0
        assert "2 sent, 0 left." in capsys.readouterr().out
        assert spent(server) == 80
        assert main(["journal", "replay"]) == 0
        assert "Nothing to send." in capsys.readouterr().out
        assert spent(server) == 80
        alive.close()

    def test_a_dry_run_sends_nothing(
        self, config: CyclesConfig, server: LocalCycles, capsys: pytest.CaptureFixture[str]
    ) -> None:
        note(config, 30).close()
        assert main(["journal", "replay", "--dry-run"]) == 0
        assert "1 would be sent." in capsys.readouterr().out
        assert server.requests == ()

    def test_what_the_server_does_not_take_in_time_is_left(
        self, config: CyclesConfig, server: LocalCycles, capsys: pytest.CaptureFixture[str]
    ) -> None:
        note(config, 30).close()
        server.inject(Fault(status=503, times=None))
        assert main(["journal", "replay", "--timeout", "0.5"]) == 1
        assert "0 sent, 1 left." in capsys.readouterr().out
        server.clear_faults()
        assert main(["journal", "replay"]) == 0
        assert spent(server) == 30

    def test_a_missing_set_up_is_named_in_one_line(
        self, config: CyclesConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("CYCLES_API_KEY")
        assert main(["journal", "replay"]) == 2
        said = capsys.readouterr().err
        assert said.startswith("cycles-otel journal replay: CYCLES_API_KEY")
        assert said.count("\n") == 1

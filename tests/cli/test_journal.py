"""``cycles-otel journal``: what waits is shown, and what belongs to nobody is sent once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from runcycles import CyclesConfig

from cycles_otel.budget.journal import Journal, KnownSpend
from cycles_otel.cli import main
from cycles_otel.local import Fault, LocalCycles
from tests.budget import child
from tests.cli.program import cycles_otel
from tests.cli.terminal import on_a_terminal


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
            "subject": {"tenant": config.tenant},
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

    def test_one_tenant_can_be_picked(
        self, config: CyclesConfig, server: LocalCycles, capsys: pytest.CaptureFixture[str]
    ) -> None:
        note(config, 30).close()
        note(replace(config, tenant="globex"), 50).close()
        assert main(["journal", "list", "--tenant", "globex", "--json"]) == 0
        assert [each["amount"] for each in json.loads(capsys.readouterr().out)] == [50]

    def test_what_was_taken_over_is_as_old_as_before(
        self, config: CyclesConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        note(config, 30).close()
        (file,) = tmp_path.rglob("*.json")
        yesterday = int((time.time() - 90_000) * 1000)
        file.write_text(json.dumps({**json.loads(file.read_text()), "recorded_at_ms": yesterday}))
        later = note(config)
        (taken,) = later.take_over()
        later.record(replace(taken, not_before=time.time() + 5))
        assert main(["journal", "list"]) == 0
        assert capsys.readouterr().out.splitlines()[1].startswith("25 h")
        later.close()

    @pytest.mark.parametrize("content", ["{", "[]", json.dumps({"version": 99, "reservation_id": "r"})])
    def test_what_cannot_be_read_is_named_and_left(
        self, config: CyclesConfig, tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        note(config, 30).close()
        (file,) = tmp_path.rglob("*.json")
        (file.parent / "v2-broken.json").write_text(content)
        (file.parent / "v2-before.corrupt").write_text(content)
        assert main(["journal", "list"]) == 0
        out = capsys.readouterr().out
        assert f"could not be read: {file.parent / 'v2-broken.json'}\n" in out
        assert f"could not be read: {file.parent / 'v2-before.corrupt'}\n" in out
        assert "1 waiting" in out
        assert (file.parent / "v2-broken.json").read_text() == content

    @pytest.mark.parametrize("action", ["list", "replay"])
    def test_what_is_no_folder_is_named_in_one_line(
        self, config: CyclesConfig, tmp_path: Path, action: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "journal"
        file.write_text("")
        assert main(["journal", action, "--dir", str(file)]) == 2
        assert capsys.readouterr().err == f"cycles-otel journal {action}: {file}: Not a directory\n"

    def test_a_line_is_whole_where_nobody_reads_it(
        self, config: CyclesConfig, server: LocalCycles, capsys: pytest.CaptureFixture[str]
    ) -> None:
        note(config, *(10**15 + number for number in range(3))).close()
        assert main(["journal", "list"]) == 0
        out = capsys.readouterr().out
        assert out.count(server.url) == 3
        assert "\x1b" not in out

    def test_a_terminal_without_the_letters_of_a_name_shows_it_somehow(
        self, config: CyclesConfig, tmp_path: Path
    ) -> None:
        done = cycles_otel("journal", "list", "--dir", str(tmp_path / "jöurnal"), PYTHONIOENCODING="ascii")
        assert (done.status, done.err) == (0, "")
        assert "j\\xf6urnal" in done.out


class TestReplay:
    def test_what_a_killed_process_left_is_shown_and_committed_once(
        self, config: CyclesConfig, server: LocalCycles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.inject(Fault("commit", drop="before", times=None))
        process = child.start(server, "reserve", "commit", "pause", journal=tmp_path)
        try:
            child.until_sent(server, "commit")
            assert main(["journal", "list", "--json"]) == 0
            (shown,) = json.loads(capsys.readouterr().out)
            assert main(["journal", "replay"]) == 0
            assert "Nothing to send." in capsys.readouterr().out
        finally:
            process.kill()
            process.communicate()
        (reservation,) = server.ledger().reservations
        assert (shown["id"], shown["kind"], shown["amount"]) == (reservation.id, "commit", child.USED)
        assert (shown["tenant"], shown["alive"]) == ("acme", True)
        server.clear_faults()
        assert main(["journal", "replay"]) == 0
        assert "1 sent, 0 left." in capsys.readouterr().out
        assert [each.status for each in server.ledger().reservations] == ["COMMITTED"]
        assert server.ledger().charged("TOKENS") == child.USED

    def test_what_was_noted_before_the_journal_was_switched_off_is_sent(
        self, config: CyclesConfig, server: LocalCycles, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        note(config, 30).close()
        monkeypatch.setenv("CYCLES_JOURNAL_ENABLED", "false")
        assert main(["journal", "replay"]) == 0
        assert spent(server) == 30

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

    def test_what_the_server_refuses_is_told_with_its_reason_and_not_waited_for(
        self, config: CyclesConfig, server: LocalCycles, capsys: pytest.CaptureFixture[str]
    ) -> None:
        journal = note(config, 30)
        charge = {
            "idempotency_key": "k",
            "subject": {"tenant": "acme"},
            "action": {"kind": "llm.completion", "name": "gpt-4o"},
            "actual": {"unit": "CREDITS", "amount": 5},
        }
        journal.record(KnownSpend("of-credits", None, charge))
        journal.close()
        assert main(["journal", "replay", "--timeout", "3600"]) == 1
        out = capsys.readouterr().out
        assert "1 sent, 1 left." in out
        assert "  of-credits (5 CREDITS): UNIT_MISMATCH: " in out
        assert spent(server) == 30

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [(Fault(status=503, times=None), "INTERNAL_ERROR"), (Fault(body="<html>", times=None), "_OTHER")],
    )
    def test_what_is_in_the_way_is_told(
        self,
        config: CyclesConfig,
        server: LocalCycles,
        fault: Fault,
        reason: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        note(config, 30).close()
        server.inject(fault)
        assert main(["journal", "replay", "--timeout", "1"]) == 1
        assert f"step-30 (30 TOKENS): {reason}: " in capsys.readouterr().out

    def test_a_key_that_is_refused_is_told_and_not_shown(
        self, config: CyclesConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        note(config, 30).close()
        monkeypatch.setenv("CYCLES_API_KEY", "cyc_live_of_nobody")
        assert main(["journal", "replay", "--timeout", "1"]) == 1
        said = capsys.readouterr()
        assert "UNAUTHORIZED" in said.out
        assert "of_nobody" not in said.out + said.err

    def test_the_spend_of_another_tenant_is_told_of_and_sent_where_asked(
        self, config: CyclesConfig, server: LocalCycles, capsys: pytest.CaptureFixture[str]
    ) -> None:
        note(config, 30).close()
        environment = replace(config, tenant="globex")
        assert main(["journal", "replay", "--tenant", environment.tenant or ""]) == 0
        assert f"1 more for tenant acme at {server.url}" in capsys.readouterr().out
        assert spent(server) == 0
        assert main(["journal", "replay", "--tenant", "acme"]) == 0
        assert spent(server) == 30

    def test_another_folder_can_be_named(
        self, config: CyclesConfig, server: LocalCycles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = tmp_path / "other"
        note(replace(config, journal_dir=str(other)), 30).close()
        assert main(["journal", "replay"]) == 0
        assert spent(server) == 0
        assert main(["journal", "replay", "--dir", str(other)]) == 0
        assert spent(server) == 30

    def test_a_record_that_cannot_be_read_does_not_keep_the_others(
        self,
        config: CyclesConfig,
        server: LocalCycles,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        note(config, 30).close()
        (file,) = tmp_path.rglob("*.json")
        (file.parent / "v2-broken.json").write_text("{")
        assert main(["journal", "replay"]) == 0
        assert "could not be read: " in capsys.readouterr().out
        assert caplog.records == []
        assert spent(server) == 30

    def test_a_terminal_shows_how_far_it_is(self, config: CyclesConfig, server: LocalCycles) -> None:
        note(config, *range(1, 13)).close()
        screen = on_a_terminal("journal", "replay")
        assert screen.status == 0
        assert " of 12 sent" in screen.raw
        assert "12 sent, 0 left." in screen.raw

    def test_a_missing_set_up_is_named_in_one_line(
        self, config: CyclesConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("CYCLES_API_KEY")
        assert main(["journal", "replay"]) == 2
        said = capsys.readouterr().err
        assert said.startswith("cycles-otel journal replay: CYCLES_API_KEY")
        assert said.count("\n") == 1

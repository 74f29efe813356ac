"""The embedded server answers every recorded exchange as the real one did."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.golden.replay import CLEAN_REFUSALS, RECORDINGS, Scenario, main

FILES = sorted(RECORDINGS.glob("*.json"))


def recording(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RECORDINGS / f"{name}.json").read_text())
    return content


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_recorded_scenario_is_answered_alike(path: Path) -> None:
    assert Scenario(json.loads(path.read_text())).differences() == []


class TestCleanRefusals:
    def test_every_recorded_500_has_a_row_of_its_own_in_the_table(self) -> None:
        listed = [step for row in CLEAN_REFUSALS for step in row.recorded]
        broken = [
            f"{path.stem}/{number}"
            for path in FILES
            for number, step in enumerate(recording(path.stem)["steps"])
            if step.get("response", {}).get("status") == 500
        ]
        assert sorted(listed) == sorted(broken)

    def test_each_row_covers_the_steps_that_it_lists(self) -> None:
        for row in CLEAN_REFUSALS:
            for listed in row.recorded:
                name, _, number = listed.partition("/")
                assert row.covers(recording(name)["steps"][int(number)]["request"])


def drop_field(content: dict[str, Any]) -> None:
    del content["steps"][0]["response"]["json"]["scope_path"]


def add_null(content: dict[str, Any]) -> None:
    content["steps"][0]["response"]["json"]["caps"] = None


def change_amount(content: dict[str, Any]) -> None:
    content["steps"][0]["response"]["json"]["balances"][0]["remaining"]["amount"] += 1


def change_status(content: dict[str, Any]) -> None:
    content["steps"][0]["response"]["status"] = 201


def drop_header(content: dict[str, Any]) -> None:
    del content["steps"][0]["response"]["headers"]["X-Cycles-Tenant"]


def change_header(content: dict[str, Any]) -> None:
    content["steps"][0]["response"]["headers"]["X-RateLimit-Remaining"] = "7"


def change_remaining_time(content: dict[str, Any]) -> None:
    content["steps"][0]["response"]["json"]["remaining_ttl_ms"] = "<ms~60001>"


def change_type(content: dict[str, Any]) -> None:
    content["steps"][0]["response"]["json"]["remaining_ttl_ms"] = 60000.0


class TestReplayerNotices:
    @pytest.mark.parametrize(
        "damage",
        [
            drop_field,
            add_null,
            change_amount,
            change_status,
            drop_header,
            change_header,
            change_remaining_time,
            change_type,
        ],
    )
    def test_a_difference_in_an_answer(self, damage: Callable[[dict[str, Any]], None]) -> None:
        content = copy.deepcopy(recording("reserve_commit_exact"))
        damage(content)
        assert Scenario(content).differences()

    def test_an_id_that_is_not_the_one_bound_before(self) -> None:
        content = recording("reserve_commit_exact")
        content["steps"][1]["response"]["json"]["reservation_id"] = "<reservation_id:2>"
        content["steps"][5]["response"]["json"]["reservation_id"] = "<reservation_id:3>"
        content["steps"][5]["response"]["json"]["idempotency_key"] = "<reservation_id:3>"
        assert Scenario(content).differences()

    def test_a_missing_item_of_an_unordered_list(self) -> None:
        content = recording("balances_filters")
        content["steps"][0]["response"]["json"]["balances"][0] = content["steps"][0]["response"]["json"]["balances"][1]
        assert Scenario(content).differences()

    def test_an_item_that_is_on_no_page(self) -> None:
        content = recording("balances_pages")
        content["steps"][0]["response"]["json"]["balances"][0]["remaining"]["amount"] = 1
        assert Scenario(content).differences()

    def test_a_relation_that_does_not_hold(self) -> None:
        content = recording("extend_ok")
        content["steps"][1]["relations"] = ["expires_at_ms == (reserve).expires_at_ms + 5001"]
        assert Scenario(content).differences()


class TestCommandLine:
    def test_exit_status_0_and_a_line_for_each_scenario_that_matches(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "good.json").write_text(json.dumps(recording("release_ok")))
        assert main([str(tmp_path)]) == 0
        assert capsys.readouterr().out.splitlines() == ["ok   good", "1 of 1 scenarios match"]

    def test_exit_status_1_and_what_differs(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        content = recording("release_ok")
        content["steps"][1]["response"]["json"]["status"] = "GONE"
        (tmp_path / "bad.json").write_text(json.dumps(content))
        assert main([str(tmp_path)]) == 1
        output = capsys.readouterr().out
        assert "FAIL bad" in output
        assert "step 1 POST /v1/reservations/<reservation_id:1>/release" in output
        assert "status: expected 'GONE', got 'RELEASED'" in output

    def test_exit_status_1_for_a_folder_without_recordings(self, tmp_path: Path) -> None:
        assert main([str(tmp_path)]) == 1

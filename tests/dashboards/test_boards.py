"""What a linter would look for in a dashboard, and that its queries name nothing that does not exist."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import Kind
from dashboards.generate import server
from dashboards.generate.promql import Clock
from dashboards.generate.recording import recording_groups
from tests.dashboards.boards import BOARDS, BUILT_IN, DIRECTORY, expressions_of, panels_of, shown_of, variables_in

RECORDED = {rule.record: rule.expression for group in recording_groups(Clock()) for rule in group.rules}
LABELS = {label for metric in semconv.METRICS for label in metric.labels} | {"le"}
SERVER_LABELS = {server.TENANT, server.DECISION, server.REASON}
FUNCTIONS_OF_RATES = ("rate", "increase", "irate")
UNITLESS = ("short", "none", "locale", "bool_on_off")
EVERY = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="what generates them needs Python 3.11")
class TestFiles:
    def test_are_in_sync_with_what_generates_them(self) -> None:
        from dashboards.generate.boards import board_files

        files = board_files()
        assert set(files) == {f"{name}.json" for name in BOARDS}
        for name, text in files.items():
            assert (DIRECTORY / name).read_text(encoding="utf-8") == text, f"{name}: make dashboards"

    def test_are_written_and_checked_by_the_module(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from dashboards.generate import boards as module
        from dashboards.generate import rules

        monkeypatch.setattr(module, "DIRECTORY", tmp_path)
        assert module.main(["--check"]) == 1
        assert "agents.json" in capsys.readouterr().err
        monkeypatch.setattr(rules, "main", lambda _: 0)
        assert module.main([]) == 0
        assert module.main(["--check"]) == 0


class TestTheBoards:
    def test_there_are_five_of_them_with_the_uids_that_alerts_link_to(self) -> None:
        assert {board["uid"] for board in BOARDS.values()} == {
            *("cycles-budget-overview", "cycles-agents", "cycles-enforcement", "cycles-denials"),
            "cycles-reconciliation",
        }

    @EVERY
    def test_has_the_variables_by_which_one_selects(self, board: dict[str, Any]) -> None:
        variables = {each["name"]: each for each in board["templating"]["list"]}
        assert {"datasource", "tenant", "unit", "agent"} <= set(variables)
        for name in ("tenant", "unit", "agent"):
            assert variables[name]["includeAll"]
            assert variables[name]["multi"]
            assert variables[name]["allValue"] == ".*"
            assert variables[name]["current"]["value"] == "$__all"

    @EVERY
    def test_links_to_all_others_and_takes_the_selection_along(self, board: dict[str, Any]) -> None:
        assert {link["url"] for link in board["links"]} == {
            f"/d/{other['uid']}" for other in BOARDS.values() if other is not board
        }
        assert all(link["includeVars"] and link["keepTime"] for link in board["links"])

    @EVERY
    def test_every_link_leads_to_a_board_and_to_variables_of_it(self, board: dict[str, Any]) -> None:
        by_uid = {each["uid"]: each for each in BOARDS.values()}
        for uid, rest in re.findall(r'"/d/([\w-]+)([^"]*)"', json.dumps(board)):
            known = {each["name"] for each in by_uid[uid]["templating"]["list"]}
            assert set(re.findall(r"var-(\w+)", rest)) <= known

    @EVERY
    def test_shows_denials_and_deploys_as_annotations(self, board: dict[str, Any]) -> None:
        assert [each["name"] for each in board["annotations"]["list"]] == ["Denials", "Deploys"]
        assert all(each["enable"] for each in board["annotations"]["list"])

    @EVERY
    def test_names_no_data_source_by_its_own_uid(self, board: dict[str, Any]) -> None:
        uids = set(re.findall(r'"uid": "([^"]*)"', json.dumps(board))) - {board["uid"]}
        assert uids <= {"${datasource}", "${traces}"}

    @EVERY
    def test_says_nothing_of_the_grafana_it_was_made_with(self, board: dict[str, Any]) -> None:
        assert not board.get("id")
        assert not {"__inputs", "__requires", "iteration"} & set(board)


class TestThePanels:
    @EVERY
    def test_have_ids_of_their_own(self, board: dict[str, Any]) -> None:
        ids = [panel["id"] for panel in panels_of(board)]
        assert len(set(ids)) == len(ids)

    @EVERY
    def test_lie_beside_each_other(self, board: dict[str, Any]) -> None:
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert at["x"] + at["w"] <= 24, panel["title"]
            assert not cells & taken, panel["title"]
            taken |= cells

    @EVERY
    def test_have_a_title_a_description_a_unit_and_a_word_for_when_they_are_empty(self, board: dict[str, Any]) -> None:
        titles = [panel["title"] for panel in shown_of(board)]
        assert len(set(titles)) == len(titles)
        for panel in shown_of(board):
            defaults = panel["fieldConfig"]["defaults"]
            assert panel["title"]
            assert len(panel["description"]) > 10, panel["title"]
            assert panel["description"].rstrip().endswith("."), panel["title"]
            assert defaults["unit"], panel["title"]
            assert defaults["noValue"], panel["title"]

    @EVERY
    def test_show_dollars_wherever_they_divide_microcents(self, board: dict[str, Any]) -> None:
        for panel in shown_of(board):
            if panel["type"] == "table" or "expr" not in panel["targets"][0]:
                continue
            in_dollars = [
                bool(re.search(r"/ 100000000\b", target["expr"]))
                for target in panel["targets"]
                if not target.get("exemplar")
            ]
            assert set(in_dollars) == {panel["fieldConfig"]["defaults"]["unit"] == "currencyUSD"}, panel["title"]

    @EVERY
    def test_name_their_lines(self, board: dict[str, Any]) -> None:
        for panel in shown_of(board):
            if panel["type"] in ("timeseries", "bargauge", "heatmap"):
                assert all(target.get("legendFormat") for target in panel["targets"]), panel["title"]
            if panel["type"] == "timeseries":
                assert panel["options"]["legend"]["showLegend"], panel["title"]

    @EVERY
    def test_of_how_full_a_budget_is_have_the_thresholds_of_the_cycles_documentation(
        self, board: dict[str, Any]
    ) -> None:
        for panel in shown_of(board):
            if panel["type"] == "table" or not panel["title"].startswith(("Fullest", "Used, ")):
                continue
            steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
            assert [step["value"] for step in steps] == [None, 0.8, 0.95, 1.0], panel["title"]

    def test_of_latency_show_exemplars(self) -> None:
        panels = [panel for panel in shown_of(BOARDS["enforcement"]) if "atency" in panel["title"]]
        assert len(panels) == 3
        assert all(any(target.get("exemplar") for target in panel["targets"]) for panel in panels)


class TestTheQueries:
    @EVERY
    def test_use_no_variable_that_the_board_does_not_have(self, board: dict[str, Any]) -> None:
        known = {each["name"] for each in board["templating"]["list"]} | BUILT_IN
        assert variables_in(json.dumps(board)) - {"__all"} <= known

    @EVERY
    def test_take_rates_over_the_rate_interval(self, board: dict[str, Any]) -> None:
        for expression in expressions_of(board):
            for function in FUNCTIONS_OF_RATES:
                for _, window in re.findall(rf"\b({function})\([^\[]*\[([^\]]*)\]", expression):
                    assert window == "$__rate_interval", expression

    @EVERY
    def test_read_what_many_processes_have_by_recording_rules_alone(self, board: dict[str, Any]) -> None:
        for expression in expressions_of(board):
            raw = re.findall(r"\bcycles_(?:client|budget)_\w+", without_labels(expression))
            if raw:
                assert expression.endswith("offset 10y"), expression

    @EVERY
    def test_name_no_series_that_nobody_has(self, board: dict[str, Any]) -> None:
        histograms = {metric.prometheus_name for metric in semconv.METRICS if metric.kind is Kind.HISTOGRAM}
        known = {metric.prometheus_name for metric in semconv.METRICS} | set(RECORDED)
        known |= {f"{name}_bucket" for name in histograms} | {server.MAINTENANCE_RUNS}
        for expression in expressions_of(board):
            bare = without_labels(expression)
            named = set(re.findall(r"\bcycles:\w+:\w+", bare)) | set(re.findall(r"(?<![:\w])cycles_\w+", bare))
            assert named - LABELS <= known, expression

    @EVERY
    def test_select_by_no_label_that_the_series_do_not_have(self, board: dict[str, Any]) -> None:
        for expression in expressions_of(board):
            for name, matchers in re.findall(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}", expression):
                labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", matchers))
                assert labels <= labels_of(name), f"{name} has no {labels - labels_of(name)}: {expression}"

    @EVERY
    def test_depend_on_nothing_by_which_the_routes_of_the_metrics_differ(self, board: dict[str, Any]) -> None:
        for expression in expressions_of(board):
            assert not re.search(r'\b(job|instance|otel_scope_\w+|le)(=~|!=|=)"', expression), expression

    def test_of_traces_name_attributes_that_spans_have(self) -> None:
        known = {key for keys in semconv.SPAN_ATTRIBUTES.values() for key in keys}
        queries = [
            target["query"] for panel in shown_of(BOARDS["denials"]) for target in panel["targets"] if "query" in target
        ]
        assert queries
        for query in queries:
            assert set(re.findall(r"span\.([\w.]+)", query)) <= known


def without_labels(expression: str) -> str:
    """The expression without matchers, and without what aggregations and joins name."""
    bare = re.sub(r"\{[^}]*\}", "", expression)
    bare = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", "", bare)
    return re.sub(r'"[^"]*"', "", bare)


def labels_of(name: str) -> set[str]:
    """The labels of a recorded or raw series."""
    if name.startswith("cycles:server_"):
        return SERVER_LABELS
    for metric in semconv.METRICS:
        if name in (metric.prometheus_name, f"{metric.prometheus_name}_bucket"):
            return set(metric.labels)
    kept = re.match(r"\w+ by \(([^)]*)\)", RECORDED[name])
    if kept:
        return set(kept[1].split(", "))
    return {label for inner in re.findall(r"\bcycles:\w+:\w+", RECORDED[name]) for label in labels_of(inner)}

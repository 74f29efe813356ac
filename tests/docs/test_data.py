"""The files that a page shows are accepted by what reads them, and the queries name series that there are."""

from __future__ import annotations

import configparser
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cycles_otel.exporter.config_file import read_targets
from cycles_otel.exporter.pace import Pace
from cycles_otel.local import LocalCycles
from cycles_otel.local.serve import read_budgets_file
from cycles_otel.telemetry import semconv
from tests.docs.blocks import ROOT, Block, blocks
from tests.docs.not_run import BLOCKS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KNOWN = {"python", "console", "yaml", "json", "toml", "ini", "promql", "text", ""}
OF_PROMETHEUS = {"scrape_configs", "rule_files", "global", "alerting"}
OF_OTHERS = {"providers", "inhibit_rules", "containers"}
"""Of Grafana, of Alertmanager, of Kubernetes."""


def test_every_block_is_in_a_language_that_is_tested() -> None:
    assert {block.language for block in blocks()} <= KNOWN


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_is_accepted_by_what_reads_it(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = yaml.safe_load(block.text)
    file = tmp_path / "block.yaml"
    file.write_text(block.text, encoding="utf-8")
    if "budgets" in contents:
        with LocalCycles(**read_budgets_file(file)):
            pass
    elif "targets" in contents:
        key = tmp_path / "key"
        key.write_text("cyc_live_0123456789", encoding="utf-8")
        for target in contents["targets"]:
            monkeypatch.setenv(target.get("api_key_env", "UNUSED"), key.read_text(encoding="utf-8"))
        file.write_text(re.sub(r"(?<=api_key_file: )\S+", str(key), block.text), encoding="utf-8")
        assert len(read_targets(file, Pace())) == len(contents["targets"])
    elif contents.keys() <= OF_PROMETHEUS:
        _rules_exist(contents)
    else:
        assert contents.keys() <= OF_OTHERS | {"apiVersion"}, f"nothing here is known to read {block}"


def _rules_exist(contents: dict[str, Any]) -> None:
    for each in contents.get("rule_files", ()):
        assert (ROOT / "dashboards" / "rules" / Path(each).name).is_file(), f"there are no rules {each}"


@pytest.mark.parametrize("block", blocks("json", "toml", "ini"), ids=str)
def test_other_data_can_be_read(block: Block) -> None:
    if block.language == "json":
        json.loads(block.text)
    elif block.language == "toml":
        tomllib.loads(block.text)
    else:
        configparser.ConfigParser(strict=False).read_string(block.text)


@pytest.mark.parametrize("block", blocks("promql"), ids=str)
def test_a_query_names_series_and_labels_that_there_are(block: Block) -> None:
    names = {metric.prometheus_name for metric in semconv.METRICS}
    series = names | {f"{name}_{end}" for name in names for end in ("bucket", "sum", "count")}
    labels = {attribute.replace(".", "_") for metric in semconv.METRICS for attribute in metric.attributes}
    used = set(re.findall(r"\b(?:cycles|gen_ai)_\w+", block.text))
    assert used
    assert used <= series | labels


def test_text_is_the_output_of_a_block_or_stands_in_the_table() -> None:
    text = [block for block in blocks("text", "") if not block.is_output]
    entries = {block: [each for each in BLOCKS if _is(each, block)] for block in text}
    assert [str(block) for block, fitting in entries.items() if len(fitting) != 1] == []
    assert {each for fitting in entries.values() for each in fitting} == set(BLOCKS), "take out what fits nothing"


def _is(entry: tuple[str, str], block: Block) -> bool:
    page, beginning = entry
    return block.page == page and block.text.startswith(beginning)

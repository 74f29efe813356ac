"""What the documentation shows of Prometheus, as promtool sees it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dashboards.generate.rules import DIRECTORY
from tests.docs.blocks import Block, blocks
from tests.docs.test_data import OF_PROMETHEUS
from tests.stack.test_rules import promtool

CONFIGURATIONS = [block for block in blocks("yaml") if yaml.safe_load(block.text).keys() <= OF_PROMETHEUS]


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=str)
def test_a_configuration_is_one_that_prometheus_takes(block: Block, tmp_path: Path) -> None:
    configuration = yaml.safe_load(block.text)
    rules = [str(DIRECTORY / Path(each).name) for each in configuration.get("rule_files", ())]
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump({**configuration, "rule_files": rules}), encoding="utf-8")
    promtool("check", "config", tmp_path / "prometheus.yaml")


@pytest.mark.parametrize("block", blocks("promql"), ids=str)
def test_a_query_is_one_that_prometheus_takes(block: Block, tmp_path: Path) -> None:
    rules = {"groups": [{"name": "docs", "rules": [{"record": "docs:query", "expr": block.text}]}]}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    promtool("check", "rules", tmp_path / "rules.yaml")

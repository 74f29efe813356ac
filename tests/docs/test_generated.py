"""What the site generates from the code is complete, and says what the code says."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

import cycles_otel
import cycles_otel.local
import cycles_otel.testing
from cycles_otel import PricedCall, TokenUsage, public_price
from cycles_otel.cli.arguments import parser
from scripts.site import api, cheat_sheet, command_line
from tests.docs.blocks import ROOT


def test_the_reference_has_every_public_name_once() -> None:
    named = re.findall(r"^::: (\S+)$", api.markdown(), re.MULTILINE)
    packages = (cycles_otel, cycles_otel.local, cycles_otel.testing)
    public = [f"{package.__name__}.{name}" for package in packages for name in package.__all__]
    assert sorted(named) == sorted(name for name in public if not name.endswith("__version__"))


def test_every_command_is_in_the_reference_with_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    page = command_line.markdown()
    for command in ("demo", "serve", "doctor", "journal replay", "exporter", "dashboards export"):
        with pytest.raises(SystemExit):
            parser().parse_args([*command.split(), "--help"])
        assert f"### cycles-otel {command}\n\n```text\n{capsys.readouterr().out}```\n" in page


class TestTheCheatSheet:
    def test_its_figures_are_what_the_hooks_would_charge(self) -> None:
        rows = [row for row in cheat_sheet.markdown().splitlines() if row.startswith("| `gpt-4o-mini`")]
        usage = TokenUsage(input_tokens=4_000, output_tokens=500)
        amount = public_price(PricedCall("gpt-4o-mini", "openai", usage, "any"))
        (row,) = rows
        assert f"| {amount:,}<br>$0.00090 |" in row

    def test_a_model_that_the_data_does_not_know_is_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cheat_sheet, "MODELS", (("openai", "gpt-4o-mini"), ("openai", "no-such-model")))
        assert "no-such-model" not in cheat_sheet.markdown()
        assert "gpt-4o-mini" in cheat_sheet.markdown()


def test_the_picture_of_the_demo_is_of_a_run_that_was_right_and_fetches_nothing() -> None:
    picture = (ROOT / "docs" / "images" / "demo.svg").read_text(encoding="utf-8")
    shown = "".join(ElementTree.fromstring(picture).itertext()).replace("\N{NO-BREAK SPACE}", " ")
    assert "telemetry = ledger" in shown
    assert "@font-face" not in picture
    assert not re.search(r"(href|src)=|url\((?!#)", picture)

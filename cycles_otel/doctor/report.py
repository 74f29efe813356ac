"""What was found, for a person or for a program; each finding is shown as soon as it is there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from cycles_otel.doctor.finding import Finding, Status

_STYLES = {Status.WELL: "green", Status.NOTE: "yellow", Status.WRONG: "bold red", Status.SKIPPED: "dim"}
_WIDTH = max(len(status.value) for status in Status)
_INDENT = " " * (_WIDTH + 2)


def show(findings: Iterable[Finding], console: Console) -> bool:
    """A line for each finding, and one for what to do; whether there is nothing to mend."""
    wrong = 0
    with console.status("Looking", spinner="line"):
        for finding in findings:
            _show(finding, console)
            wrong += finding.status is Status.WRONG
    console.print(f"\n{wrong} to mend." if wrong else "\nNothing to mend.")
    return not wrong


def _show(finding: Finding, console: Console) -> None:
    check = f"  {finding.check}: {finding.found}"
    console.print(Text.assemble((f"{finding.status.value:<{_WIDTH}}", _STYLES[finding.status]), check), soft_wrap=True)
    if finding.mend:
        console.print(Text(f"{_INDENT}{finding.mend}.", style="bold"), soft_wrap=True)


def as_json(findings: Iterable[Finding]) -> tuple[str, bool]:
    """The same as JSON, with a member ``well``."""
    found = list(findings)
    is_well = all(finding.status is not Status.WRONG for finding in found)
    shown = [{**asdict(finding), "status": finding.status.value} for finding in found]
    return json.dumps({"well": is_well, "findings": shown}, indent=2, ensure_ascii=False), is_well

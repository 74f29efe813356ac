"""Budgets know neither an agent framework nor telemetry."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cycles_otel.budget

FOLDER = Path(cycles_otel.budget.__path__[0])
ALLOWED = ("cycles_otel.budget", "runcycles", "httpx", "anyio")


def imported(file: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield node.module or ""


def test_budget_imports_itself_the_client_with_its_transport_and_the_standard_library_alone() -> None:
    files = list(FOLDER.rglob("*.py"))
    assert len(files) > 10
    for file in files:
        for module in imported(file):
            is_allowed = any(module == each or module.startswith(f"{each}.") for each in ALLOWED)
            assert is_allowed or module.split(".")[0] in sys.stdlib_module_names, f"{file.name} imports {module}"


def test_importing_the_governor_brings_in_neither_the_sdk_nor_telemetry() -> None:
    code = (
        "import cycles_otel.budget.governor, sys;"
        "print([name for name in sys.modules if name.split('.')[0] in ('agents', 'opentelemetry', 'prometheus_client')"
        " or name.startswith('cycles_otel.telemetry')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    assert run.stdout.strip() == "[]"

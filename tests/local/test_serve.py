"""`serve`: the embedded server as a program, with budgets from a file."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from cycles_otel.local import InvalidParameter
from cycles_otel.local.serve import read_budgets_file, serve

BUDGETS = """
budgets:
  tenant:acme:
    USD_MICROCENTS: 10_000_000
    TOKENS: {allocated: 50_000, overdraft_limit: 1_000}
  tenant:acme/agent:triage:
    RISK_POINTS: {allocated: 100, caps: {tool_denylist: [shell]}}
tenants:
  acme: {default_commit_overage_policy: REJECT}
keys:
  - {name: mine, tenant: acme, secret: cyc_test_0123456789}
"""


@pytest.fixture
def budgets_file(tmp_path: Path) -> Path:
    path = tmp_path / "budgets.yaml"
    path.write_text(BUDGETS)
    return path


@contextmanager
def serving(budgets_file: Path, **parameters: object) -> Iterator[tuple[subprocess.Popen[str], list[str], str]]:
    """A serving process, what it printed at the start, and its URL."""
    given = "".join(f", {name}={value!r}" for name, value in parameters.items())
    code = f"from cycles_otel.local.serve import serve; serve({str(budgets_file)!r}, port=0{given})"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        lines: list[str] = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], "".join(lines)
        yield process, lines, next(line.split()[-1] for line in lines if line.startswith("Listening on"))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def balances(url: str) -> httpx.Response:
    headers = {"X-Cycles-API-Key": "cyc_test_0123456789"}
    return httpx.get(f"{url}/v1/balances?tenant=acme", headers=headers, trust_env=False)


class TestServing:
    def test_it_prints_what_it_is_where_it_listens_and_the_keys(self, budgets_file: Path) -> None:
        with serving(budgets_file) as (_, lines, url):
            output = "".join(lines)
            assert "development and tests" in output
            assert "cycles-server" in output
            assert "key mine of tenant acme (ACTIVE): cyc_test_0123456789" in output
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
            assert len(balances(url).json()["balances"]) == 3

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_it_cleanly(self, budgets_file: Path, number: signal.Signals) -> None:
        with serving(budgets_file) as (process, _, _url):
            process.send_signal(number)
            assert process.wait(timeout=20) == 0

    def test_a_file_keeps_the_ledger_over_a_restart(self, budgets_file: Path, tmp_path: Path) -> None:
        db = str(tmp_path / "ledger.db")
        body = {
            "idempotency_key": "k",
            "subject": {"tenant": "acme"},
            "action": {"kind": "llm.completion", "name": "gpt"},
            "actual": {"unit": "TOKENS", "amount": 7},
        }
        with serving(budgets_file, db=db) as (process, _, url):
            headers = {"X-Cycles-API-Key": "cyc_test_0123456789"}
            assert httpx.post(f"{url}/v1/events", json=body, headers=headers, trust_env=False).status_code == 201
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)
        with serving(budgets_file, db=db) as (_, _, url):
            spent = {each["spent"]["unit"]: each["spent"]["amount"] for each in balances(url).json()["balances"]}
            assert spent["TOKENS"] == 7

    def test_it_warns_where_the_network_can_reach_it(self, budgets_file: Path) -> None:
        with serving(budgets_file, host="0.0.0.0") as (_, lines, _url):
            assert "WARNING: 0.0.0.0" in "".join(lines)


class TestBudgetsFile:
    def test_it_is_read_as_local_cycles_takes_it(self, budgets_file: Path) -> None:
        contents = read_budgets_file(budgets_file)
        assert contents["budgets"]["tenant:acme"]["USD_MICROCENTS"] == 10_000_000
        assert [key.name for key in contents["keys"]] == ["mine"]

    @pytest.mark.parametrize(
        ("text", "named"),
        [
            ("budgets: [", "a YAML file"),
            ("5", "a mapping with the key 'budgets'"),
            ("tenants: {}", "a mapping with the key 'budgets'"),
            ("budgets: {}\nbudget: {}", "budget: got {}, accepted is one of the keys budgets, tenants, keys"),
            ("budgets: {tenant:acme: {DOLLARS: 5}}", "unit: got 'DOLLARS'"),
            ("budgets: {tenant:acme: {TOKENS: many}}", "allocated: got 'many'"),
            ("budgets: {tenant:acme: {TOKENS: {limit: 5}}}", "'allocated'"),
            ("budgets: {}\nkeys: {name: a}", "a list of mappings"),
            ("budgets: {}\nkeys: [{name: a}]", r"keys\[0\].*a complete Key.*'tenant'"),
            ("budgets: {}\nkeys: [{name: a, tenant: acme, owner: me}]", r"keys\[0\]: owner"),
        ],
    )
    def test_a_mistake_is_one_line_that_says_where_and_what_is_accepted(
        self, tmp_path: Path, text: str, named: str
    ) -> None:
        path = tmp_path / "budgets.yaml"
        path.write_text(text)
        with pytest.raises(InvalidParameter, match=named) as caught:
            serve(path, port=0)
        assert "\n" not in str(caught.value)

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidParameter, match=r"nothing.yaml.*No such file"):
            serve(tmp_path / "nothing.yaml")

    def test_a_date_of_yaml_is_a_date(self, tmp_path: Path) -> None:
        path = tmp_path / "budgets.yaml"
        path.write_text("budgets: {}\nkeys: [{name: a, tenant: acme, expires_at: 2030-01-01T00:00:00Z}]")
        assert read_budgets_file(path)["keys"][0].expires_ms() == 1_893_456_000_000

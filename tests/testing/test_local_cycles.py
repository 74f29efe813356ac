"""The `local_cycles` fixture, as users of the package meet it, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cycles_otel.local import LocalCycles
from tests.local.client import USD, Client


class TestFixture:
    def test_it_is_a_running_server_with_plenty_of_everything(self, local_cycles: LocalCycles) -> None:
        with Client(local_cycles) as client:
            assert client.tenant == "acme"
            for unit in (USD, "TOKENS", "RISK_POINTS"):
                assert client.reserve(1_000, unit).status_code == 200

    @pytest.mark.local_cycles(budgets={"tenant:globex": {"TOKENS": 5}})
    def test_a_marker_says_with_what_it_starts(self, local_cycles: LocalCycles) -> None:
        assert local_cycles.ledger().budget("tenant:globex", "TOKENS").allocated == 5

    def test_each_test_has_its_own(self, tmp_path: Path) -> None:
        (tmp_path / "test_two.py").write_text(
            "import pytest\n"
            "@pytest.mark.parametrize('number', [1, 2])\n"
            "def test_it_is_untouched(local_cycles, number):\n"
            "    local_cycles.set_budget('tenant:acme', allocated=number)\n"
            "    assert len(local_cycles.requests) == 0\n"
            "    assert local_cycles.ledger().budget('tenant:acme').allocated == number\n"
        )
        run = run_python("-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", str(tmp_path))
        assert "2 passed" in run.stdout, run.stdout + run.stderr

    def test_the_marker_is_known_to_a_strict_run(self, tmp_path: Path) -> None:
        (tmp_path / "test_one.py").write_text(
            "import pytest\n"
            "@pytest.mark.local_cycles(budgets={'tenant:acme': {'TOKENS': 3}})\n"
            "def test_it_counts(local_cycles):\n"
            "    assert local_cycles.ledger().budget('tenant:acme', 'TOKENS').remaining == 3\n"
        )
        run = run_python("-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", str(tmp_path))
        assert "1 passed" in run.stdout, run.stdout + run.stderr


HEAVY = ("starlette", "uvicorn", "runcycles", "agents", "httpx", "opentelemetry", "sqlite3", "pydantic")


class TestCost:
    def test_importing_the_plugin_imports_nothing_heavy(self) -> None:
        code = (
            f"import cycles_otel.testing.pytest_plugin, sys; print([each for each in {HEAVY!r} if each in sys.modules])"
        )
        assert run_python("-c", code).stdout.strip() == "[]"

    def test_without_the_extra_the_error_says_what_to_install(self) -> None:
        imports = "from cycles_otel.local import LocalCycles", "from cycles_otel.local.serve import serve"
        for missing, wanted in (("starlette", imports[0]), ("uvicorn", imports[1]), ("yaml", imports[1])):
            run = run_python("-c", f"import sys; sys.modules[{missing!r}] = None; {wanted}")
            assert run.returncode == 1
            assert f"needs {missing}" in run.stderr
            assert 'pip install "cycles-otel[server]"' in run.stderr

    def test_without_the_extra_budgets_can_still_be_described(self) -> None:
        code = (
            "import sys; sys.modules['starlette'] = sys.modules['uvicorn'] = None\n"
            "from cycles_otel.local import Budget; print(Budget('tenant:acme', 'TOKENS', 5).allocated)"
        )
        assert run_python("-c", code).stdout.strip() == "5"

    def test_a_name_that_does_not_exist_is_an_attribute_error(self) -> None:
        import cycles_otel.local

        with pytest.raises(AttributeError, match="'Nothing'"):
            _ = cycles_otel.local.Nothing  # type: ignore[attr-defined]

    def test_every_listed_name_can_be_imported(self) -> None:
        import cycles_otel.local

        for name in cycles_otel.local.__all__:
            assert getattr(cycles_otel.local, name).__name__ == name


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=50, check=False)

"""The set-up of the real parts for `make test-stack`, with a stand-in for Go that writes down what it is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "stack" / "set_up.py"
GO = """\
#!/bin/sh
echo "$GOPROXY $1" >> "$ASKED"
case $1 in
    env) echo "$GOPROXY" ;;
    install) [ -z "$BROKEN" ] || { echo "no such module"; exit 1; }; for made in prometheus promtool kustomize
        do touch "$GOBIN/$made"; done ;;
    run) mkdir source; touch source/go.mod; echo "tidy: a module of a test is missing"; exit 1 ;;
    mod) definitions=module/example/prometheus-operator-crd; mkdir -p $definitions; touch $definitions/rules.yaml
        echo "go: downloading"; echo "{\\"Dir\\": \\"$PWD/module\\"}" ;;
    build) while [ "$1" != -o ]; do shift; done; touch "$2" ;;
esac
"""


class Machine:
    """A machine with a cache, and with Go if ``path`` names the folder of one."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.asked = folder / "asked"
        self.path = folder / "bin"
        self.path.mkdir()
        (self.path / "go").write_text(GO)
        (self.path / "go").chmod(0o755)

    def start(self, **environment: str) -> subprocess.Popen[str]:
        system = {"PATH": f"{self.path}:/usr/bin:/bin", "XDG_CACHE_HOME": str(self.cache), "ASKED": str(self.asked)}
        return subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            env={"GOPROXY": "https://proxy.test,direct", **system, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def set_up(self, **environment: str) -> tuple[int, str, str]:
        """The exit code, what is printed, and what is said to the user."""
        with self.start(**environment) as process:
            printed, said = process.communicate()
        return process.returncode, printed.strip(), said

    def jobs(self) -> list[str]:
        """What Go was asked to do, without the questions about its settings."""
        return [job for line in self.asked.read_text().splitlines() if (job := line.split()[1]) != "env"]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


class TestSetUp:
    def test_it_prints_the_folder_that_holds_the_programs(self, machine: Machine) -> None:
        code, folder, _ = machine.set_up()
        assert code == 0
        assert Path(folder).is_relative_to(machine.cache / "cycles-otel" / "stack")
        made = {name.partition("-v")[0] for name in os.listdir(folder)}
        assert {"otelcol", "prometheus", "promtool", "kustomize", "prometheus-operator"} <= made

    def test_a_second_call_needs_no_go(self, machine: Machine) -> None:
        first = machine.set_up()
        (machine.path / "go").unlink()
        assert machine.set_up() == (0, first[1], "")

    def test_calls_at_the_same_time_build_everything_once(self, machine: Machine) -> None:
        together = [machine.start() for _ in range(4)]
        said = {process.communicate()[0] for process in together}
        assert len(said) == 1
        assert [process.returncode for process in together] == [0] * 4
        assert machine.jobs() == ["install", "run", "build", "install", "mod"]

    def test_without_go_one_line_says_what_to_install(self, machine: Machine) -> None:
        (machine.path / "go").unlink()
        code, printed, said = machine.set_up(PATH=str(machine.path))
        assert (code, printed) == (1, "")
        assert said.count("\n") == 1
        assert "needs Go" in said

    def test_a_build_that_fails_says_why_and_leaves_nothing_half_done(self, machine: Machine) -> None:
        code, _, said = machine.set_up(BROKEN="yes")
        assert code == 1
        assert "no such module" in said
        assert not list(machine.cache.rglob("building-*"))
        assert machine.set_up()[0] == 0


class TestProxy:
    @pytest.mark.parametrize(
        ("setting", "used"),
        [
            ("https://proxy.test,direct", "https://proxy.test"),
            ("https://a.test|https://b.test|direct", "https://a.test|https://b.test"),
            ("https://proxy.test", "https://proxy.test"),
            ("direct", "direct"),
        ],
    )
    def test_it_is_the_user_s_own_without_a_fall_back_to_the_origins(
        self, machine: Machine, setting: str, used: str
    ) -> None:
        machine.set_up(GOPROXY=setting)
        asked = [line.split()[0] for line in machine.asked.read_text().splitlines() if not line.endswith(" env")]
        assert set(asked) == {used}

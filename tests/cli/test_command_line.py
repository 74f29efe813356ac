"""What can be asked for, and what is said where that is wrong: one line, exit status 2, no traceback."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cycles_otel import __version__
from cycles_otel.cli import main
from cycles_otel.cli.arguments import parser
from tests.cli.program import cycles_otel, ended, running

WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from cycles_otel.cli import main
sys.exit(main([{command!r}]))
"""
"""A program in whose environment a package is not installed."""


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, ...]]:
    """Every command that does something, as it is typed."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield from ((name, *deeper) for deeper in commands(command))
            return
    yield ()


COMMANDS = list(commands(parser()))


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


class TestHelp:
    @pytest.mark.parametrize("arguments", [(), ("--help",)])
    def test_it_names_the_commands_and_what_to_do_first(self, arguments: tuple[str, ...]) -> None:
        done = cycles_otel(*arguments)
        assert done.status == 0
        assert "first steps:\n  cycles-otel demo" in done.out
        assert not done.err

    def test_the_demo_explains_its_options(self) -> None:
        done = cycles_otel("demo", "--help")
        assert done.status == 0
        for option in ("--customers", "--seed", "--otlp ENDPOINT", "--serve"):
            assert option in done.out

    def test_serve_shows_a_budgets_file(self) -> None:
        done = cycles_otel("serve", "--help")
        assert done.status == 0
        assert "USD_MICROCENTS: 1_000_000_000" in done.out

    @pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
    def test_each_teaches_by_examples(self, command: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main([*command, "--help"])
        assert ended.value.code == 0
        said = capsys.readouterr().out
        description, _, examples = said.partition("examples:\n")
        assert f"cycles-otel {' '.join(command)}" in examples
        assert len(description.splitlines()) > 5
        assert max(len(line) for line in said.splitlines()) <= 120

    @pytest.mark.parametrize("group", ["journal", "dashboards"])
    def test_a_group_names_its_commands(self, group: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([group]) == 0
        said = capsys.readouterr().out
        assert all(f"  {command[1]} " in said for command in COMMANDS if command[0] == group)

    def test_the_page_about_the_command_line_has_them_all(self) -> None:
        page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
        for command in COMMANDS:
            assert f"`cycles-otel {command[0]}" in page
            assert command[-1] in page

    def test_the_version_is_that_of_the_package(self) -> None:
        assert cycles_otel("--version").out == f"cycles-otel {__version__}\n"


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["dance"], "cycles-otel: argument COMMAND: invalid choice: 'dance'"),
            (["demo", "--customers", "0"], "--customers: '0' is not accepted: a whole number from 1 on"),
            (["demo", "--customers", "some"], "--customers: 'some' is not accepted"),
            (["demo", "--seed", "x"], "--seed: invalid int value: 'x'"),
            (["demo", "--speed", "9"], "unrecognized arguments: --speed 9"),
            (["demo", "--otlp", "localhost"], "'localhost' cannot be used; accepted: an address such as http://"),
            (["serve", "--port", "99999"], "port: got 99999, accepted is a port from 0 to 65535"),
            (["serve", "--budgets", "nothing.yaml"], "'nothing.yaml', accepted is a file that can be read"),
            (["serve", "--budgets", "."], "'.', accepted is a file that can be read"),
            (["serve", "--port", "0", "--db", "no/folder.db"], "db: got 'no/folder.db', accepted is a file that"),
        ],
    )
    def test_each_is_one_line_and_exit_status_2(
        self, arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done = cycles_otel(*arguments)
        assert (done.status, done.err.count("\n")) == (2, 1), done.err
        assert done.err.startswith("cycles-otel")
        assert said in done.err

    def test_a_budgets_file_that_is_wrong_is_told_where(self, tmp_path: Path) -> None:
        file = tmp_path / "budgets.yaml"
        file.write_text("budgets: {tenant:acme: {DOLLARS: 5}}")
        done = cycles_otel("serve", "--budgets", str(file))
        assert (done.status, done.err.count("\n")) == (2, 1)
        assert "budget tenant:acme: unit: got 'DOLLARS'" in done.err

    def test_a_file_that_is_no_database_is_named(self, tmp_path: Path) -> None:
        file = tmp_path / "ledger.db"
        file.write_text("this is a letter, and no database at all\n" * 100)
        done = cycles_otel("serve", "--port", "0", "--db", str(file))
        assert (done.status, done.err.count("\n")) == (2, 1)
        assert f"db: got '{file}'" in done.err

    def test_a_port_that_is_taken_is_named(self, taken_port: int) -> None:
        done = cycles_otel("serve", "--port", str(taken_port))
        assert done.status == 2
        assert done.err == f"cycles-otel serve: cannot listen on 127.0.0.1:{taken_port}: Address already in use\n"

    @pytest.mark.parametrize(("command", "missing"), [("demo", "rich"), ("serve", "uvicorn"), ("serve", "yaml")])
    def test_a_missing_extra_is_named_with_what_to_install(self, command: str, missing: str) -> None:
        done = ended("-c", WITHOUT.format(command=command, missing=missing))
        assert done.status == 2
        assert done.err == f'cycles-otel {command}: {missing} is not installed: pip install "cycles-otel[cli]"\n'

    def test_a_fault_of_the_program_keeps_its_traceback(self) -> None:
        done = ended("-c", WITHOUT.format(command="demo", missing="prometheus_client"))
        assert done.status == 1
        assert "Traceback" in done.err


class TestServing:
    def test_without_a_file_there_is_a_tenant_to_begin_with(self) -> None:
        with running("serve", "--port", "0") as process:
            assert process.read_until("key ").split()[:5] == ["key", "acme", "of", "tenant", "acme"]
            process.read_until("Ctrl-C ends it.")
            done = process.interrupt()
        assert (done.status, done.err) == (0, "")

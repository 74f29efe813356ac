"""Dashboards are put into a Grafana, once or again, and every refusal is said in words."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from cycles_otel.cli import main
from cycles_otel.dashboards.files import shipped_boards
from tests.dashboards.boards import BOARDS
from tests.dashboards.grafana import EDITOR, VIEWER, GrafanaState, grafana_api


@pytest.fixture
def grafana() -> Iterator[GrafanaState]:
    with grafana_api() as state:
        yield state


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFANA_TOKEN", EDITOR)


def push(grafana: GrafanaState, *more: str) -> int:
    return main(["dashboards", "push", "--url", grafana.url, "--folder", "Cycles", *more])


class TestPush:
    def test_puts_all_boards_into_the_folder_which_it_makes(
        self, grafana: GrafanaState, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert push(grafana) == 0

        assert list(grafana.folders.values()) == ["Cycles"]
        assert set(grafana.boards) == {board["uid"] for board in BOARDS.values()}
        (folder,) = grafana.folders
        for board in BOARDS.values():
            kept = grafana.boards[board["uid"]]
            assert kept["folder"] == folder
            assert {**kept["dashboard"], "id": None, "version": None} == {**board, "id": None, "version": None}
        assert f"{grafana.url}/d/cycles-agents/slug" in capsys.readouterr().out

    def test_takes_a_folder_of_that_name_as_it_is_however_many_there_are(self, grafana: GrafanaState) -> None:
        grafana.folders |= {f"other-{number}": f"Other {number}" for number in range(1_000)} | {"mine": "Cycles"}
        assert push(grafana) == 0
        assert {kept["folder"] for kept in grafana.boards.values()} == {"mine"}

    def test_writes_nothing_where_all_is_the_same(
        self, grafana: GrafanaState, capsys: pytest.CaptureFixture[str]
    ) -> None:
        push(grafana)
        grafana.requests.clear()
        capsys.readouterr()

        assert push(grafana) == 0
        assert grafana.writes == []
        assert capsys.readouterr().out.count("unchanged") == len(BOARDS)

    def test_overwrites_what_was_changed_there_and_nothing_else(self, grafana: GrafanaState) -> None:
        push(grafana)
        grafana.boards["cycles-agents"]["dashboard"]["title"] = "Mine"
        grafana.requests.clear()

        assert push(grafana) == 0
        assert grafana.writes == ["POST /api/dashboards/db"]
        kept = grafana.boards["cycles-agents"]["dashboard"]
        assert (kept["title"], kept["version"]) == (BOARDS["agents"]["title"], 2)

    def test_brings_a_board_back_to_the_folder(self, grafana: GrafanaState) -> None:
        push(grafana)
        (folder,) = grafana.folders
        grafana.boards["cycles-denials"]["folder"] = ""
        push(grafana)
        assert grafana.boards["cycles-denials"]["folder"] == folder

    def test_needs_no_folder(self, grafana: GrafanaState) -> None:
        assert main(["dashboards", "push", "--url", grafana.url]) == 0
        assert {kept["folder"] for kept in grafana.boards.values()} == {""}
        assert grafana.folders == {}

    def test_works_below_a_path(self, capsys: pytest.CaptureFixture[str]) -> None:
        with grafana_api("/monitoring") as grafana:
            assert push(grafana) == 0
            assert f"{grafana.url}/d/cycles-agents/slug" in capsys.readouterr().out


class TestDryRun:
    def test_changes_nothing_and_says_what_is_new(
        self, grafana: GrafanaState, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert push(grafana, "--dry-run") == 0
        assert grafana.writes == []
        assert capsys.readouterr().out.count("new") == len(BOARDS)

    def test_shows_the_difference(self, grafana: GrafanaState, capsys: pytest.CaptureFixture[str]) -> None:
        push(grafana)
        grafana.boards["cycles-agents"]["dashboard"]["title"] = "Mine"
        grafana.boards["cycles-denials"]["folder"] = ""
        grafana.requests.clear()
        capsys.readouterr()

        assert push(grafana, "--dry-run") == 0
        assert grafana.writes == []
        out = capsys.readouterr().out
        assert '-  "title": "Mine",' in out
        assert '+  "title": "Cycles / Agents",' in out
        assert "moves from folder 'General'" in out
        assert out.count("unchanged") == len(BOARDS) - 2


class TestRefusals:
    def test_a_token_that_is_not_valid(self, grafana: GrafanaState, capsys: pytest.CaptureFixture[str]) -> None:
        assert push(grafana, "--token", "glsa_secret") == 2
        said = capsys.readouterr().err
        assert "401: Invalid API key; the token is not valid" in said
        assert "glsa_secret" not in said

    def test_a_token_that_may_not_write(self, grafana: GrafanaState, capsys: pytest.CaptureFixture[str]) -> None:
        assert push(grafana, "--token", VIEWER) == 2
        assert "403: You'll need additional permissions" in (said := capsys.readouterr().err)
        assert "role Editor" in said
        assert VIEWER not in said

    @pytest.mark.parametrize("given", ["", "two words", "line\nbreak"])
    def test_a_token_that_cannot_be_one_is_not_sent(
        self, grafana: GrafanaState, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, given: str
    ) -> None:
        monkeypatch.setenv("GRAFANA_TOKEN", given)
        assert push(grafana) == 2
        said = capsys.readouterr().err
        assert "GRAFANA_TOKEN" in said
        assert grafana.requests == []
        assert not given or given not in said

    def test_an_address_that_is_not_that_of_grafana(
        self, grafana: GrafanaState, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["dashboards", "push", "--url", f"{grafana.url}/elsewhere"]) == 2
        assert "404" in (said := capsys.readouterr().err)
        assert "its path included" in said

    def test_an_address_that_is_none(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["dashboards", "push", "--url", "grafana.example.com"]) == 2
        assert "url='grafana.example.com'" in capsys.readouterr().err

    def test_a_login_page_in_the_way(self, grafana: GrafanaState, capsys: pytest.CaptureFixture[str]) -> None:
        grafana.broken = 200, "<html>Sign in</html>"
        assert push(grafana) == 2
        assert "login page" in capsys.readouterr().err

    def test_a_gateway_that_fails(self, grafana: GrafanaState, capsys: pytest.CaptureFixture[str]) -> None:
        grafana.broken = 502, "<html>Bad Gateway</html>"
        assert push(grafana) == 2
        assert "502: Bad Gateway" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            ((412, {"message": "name-exists"}), "412: name-exists; Grafana has another dashboard"),
            ((400, {"message": "Cannot save provisioned dashboard"}), "400: Cannot save provisioned dashboard"),
        ],
    )
    def test_a_board_that_is_not_taken(
        self, grafana: GrafanaState, capsys: pytest.CaptureFixture[str], answer: tuple[int, object], said: str
    ) -> None:
        grafana.refused = answer
        assert push(grafana) == 2
        assert said in capsys.readouterr().err

    def test_a_grafana_that_is_not_there(self, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        assert main(["dashboards", "push", "--url", f"http://127.0.0.1:{port}"]) == 2
        assert f"http://127.0.0.1:{port} does not answer" in capsys.readouterr().err


class TestWhatIsShipped:
    def test_the_boards_are_those_of_the_repository(self) -> None:
        assert shipped_boards() == list(BOARDS.values())

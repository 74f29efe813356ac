"""What can be configured, and what is said where that is wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from cycles_otel.exporter.config_file import read_targets
from cycles_otel.exporter.pace import PACE_FIELDS, Pace
from cycles_otel.exporter.targets import Target, from_environment
from cycles_otel.telemetry import TelemetrySetupError

KEY = "cyc_live_0123456789"
ACME = {"tenant": "acme", "base_url": "https://cycles.example", "api_key": KEY}


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Reads a file with this content."""
    monkeypatch.setenv("ACME_KEY", KEY + "\n")

    def read(contents: Any) -> list[Target]:
        file = tmp_path / "targets.yaml"
        file.write_text(contents if isinstance(contents, str) else yaml.safe_dump(contents))
        return read_targets(file, Pace(interval=20.0))

    return read


class TestAFile:
    def test_a_target_needs_a_tenant_an_address_and_a_key(self, read: Any) -> None:
        (target,) = read({"targets": [ACME]})
        assert (target.name, target.base_url, target.levels) == ("acme", "https://cycles.example", {"tenant": "acme"})
        assert target.key.read() == KEY
        assert target.pace == Pace(interval=20.0)

    def test_a_key_may_come_from_a_variable_or_from_a_file(self, read: Any, tmp_path: Path) -> None:
        file = tmp_path / "key"
        file.write_text(f"{KEY}\n")
        sources = [{"api_key_env": "ACME_KEY"}, {"api_key_file": str(file)}]
        shared = {"base_url": "http://localhost:7878"}
        targets = read({**shared, "targets": [{"tenant": f"t{n}", **source} for n, source in enumerate(sources)]})
        assert [target.key.read() for target in targets] == [KEY, KEY]

    def test_what_stands_in_a_target_counts_more_than_what_stands_beside_and_that_more_than_the_command_line(
        self, read: Any
    ) -> None:
        targets = read({"timeout": 3, "jitter": 0, "targets": [ACME, {**ACME, "name": "fast", "timeout": 1}]})
        assert [target.pace for target in targets] == [Pace(20.0, 0.0, 3.0), Pace(20.0, 0.0, 1.0)]

    def test_the_address_may_be_that_of_the_environment(self, read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CYCLES_BASE_URL", "http://cycles:7878")
        (target,) = read({"targets": [{"tenant": "acme", "api_key": KEY}]})
        assert target.base_url == "http://cycles:7878"

    def test_further_levels_narrow_a_target_down(self, read: Any) -> None:
        (target,) = read({"targets": [{**ACME, "agent": "billing", "workspace": "w1"}]})
        assert target.levels == {"tenant": "acme", "agent": "billing", "workspace": "w1"}

    def test_a_target_that_is_printed_does_not_show_its_key(self, read: Any) -> None:
        (target,) = read({"targets": [ACME]})
        assert KEY not in repr(target)


class TestMistakesInAFile:
    @pytest.mark.parametrize(
        ("contents", "said"),
        [
            ([], "targets.yaml=<class 'list'> cannot be used; accepted: a mapping of targets, base_url"),
            ("targets: [", "a YAML file (line 1"),
            ({"targets": []}, "targets=[] cannot be used; accepted: a list of targets, one at least"),
            ({"targets": "acme"}, "targets=<class 'str'> cannot be used; accepted: a list of targets"),
            ({"scopes": 5, "targets": [ACME]}, "targets.yaml='scopes' cannot be used; accepted: the names targets"),
            ({"targets": ["acme"]}, "targets[0]=<class 'str'> cannot be used; accepted: a mapping of name"),
            ({"targets": [ACME, {**ACME, "tenat": "x"}]}, "targets[1]='tenat' cannot be used; accepted: the names"),
            ({"targets": [{"api_key": KEY}]}, "targets[0].tenant=None cannot be used; accepted: the tenant of the key"),
            ({"targets": [{**ACME, "tenant": 5}]}, "targets[0].tenant=5 cannot be used; accepted: 1 to 128 of a-z"),
            ({"targets": [{**ACME, "agent": "a b"}]}, "targets[0].agent='a b' cannot be used; accepted: 1 to 128"),
            ({"targets": [{**ACME, "name": ""}]}, "targets[0].name='' cannot be used; accepted: a text"),
            ({"targets": [ACME, ACME]}, "targets[1].name='acme' cannot be used; accepted: a name that no other"),
            ({"targets": [{**ACME, "base_url": "acme"}]}, "targets[0].base_url='acme' cannot be used; accepted: an ad"),
            ({"targets": [{"tenant": "a", "api_key": KEY}]}, "targets[0].base_url=None cannot be used; accepted: an"),
            ({"interval": 0, "targets": [ACME]}, "interval=0 cannot be used; accepted: seconds, more than 0"),
            ({"targets": [{**ACME, "interval": "1m"}]}, "targets[0].interval='1m' cannot be used; accepted: seconds"),
            ({"targets": [{**ACME, "interval": float("nan")}]}, "targets[0].interval=nan cannot be used"),
            ({"targets": [{**ACME, "timeout": True}]}, "targets[0].timeout=True cannot be used"),
            ({"targets": [{**ACME, "jitter": 0.6}]}, "targets[0].jitter=0.6 cannot be used; accepted: a number from 0"),
            ({"targets": [{**ACME, "stale_after": 1.5}]}, "targets[0].stale_after=1.5 cannot be used; accepted: a w"),
            ({"targets": [{**ACME, "max_backoff": -1}]}, "targets[0].max_backoff=-1 cannot be used"),
        ],
    )
    def test_each_names_the_parameter_the_value_and_what_is_accepted(self, read: Any, contents: Any, said: str) -> None:
        with pytest.raises(TelemetrySetupError) as raised:
            read(contents)
        assert said in str(raised.value)
        assert KEY not in str(raised.value)

    @pytest.mark.parametrize(
        ("source", "said"),
        [
            ({}, "targets[0]=[] cannot be used; accepted: exactly one of api_key, api_key_env, api_key_file"),
            ({"api_key": KEY, "api_key_env": "ACME_KEY"}, "targets[0]=['api_key', 'api_key_env'] cannot be used"),
            ({"api_key": f"{KEY} {KEY}"}, "targets[0].api_key=<class 'str'> cannot be used; accepted: a key of"),
            ({"api_key": f"{KEY}\u00e9"}, "targets[0].api_key=<class 'str'> cannot be used; accepted: a key of"),
            ({"api_key": 5}, "targets[0].api_key=<class 'int'> cannot be used; accepted: a key of the Cycles server"),
            ({"api_key_env": "NOBODY_SET_IT"}, "targets[0].api_key_env='NOBODY_SET_IT' cannot be used; accepted: a v"),
            ({"api_key_env": KEY}, "targets[0].api_key_env=<class 'str'> cannot be used; accepted: a variable"),
            ({"api_key_env": f"{KEY}-x"}, "targets[0].api_key_env=<class 'str'> cannot be used; accepted: a variable"),
            ({"api_key_env": 5}, "targets[0].api_key_env=<class 'int'> cannot be used; accepted: the name of a var"),
            ({"api_key_file": "no/such"}, "targets[0].api_key_file='no/such' cannot be used; accepted: a file that"),
            ({"api_key_file": KEY}, "targets[0].api_key_file=<class 'str'> cannot be used; accepted: a file that"),
            ({"api_key_file": os.devnull}, "targets[0].api_key_file=<class 'str'> cannot be used; accepted: a key"),
            ({"key": KEY}, "targets[0]='key' cannot be used; accepted: the names"),
        ],
    )
    def test_a_key_is_never_shown(self, read: Any, source: dict[str, Any], said: str) -> None:
        with pytest.raises(TelemetrySetupError) as raised:
            read({"base_url": "http://localhost:7878", "targets": [{"tenant": "acme", **source}]})
        assert str(raised.value).startswith(said)
        assert KEY not in str(raised.value)

    def test_a_line_that_is_no_yaml_is_not_quoted(self, read: Any) -> None:
        with pytest.raises(TelemetrySetupError, match=r"a YAML file \(line 2") as raised:
            read(f"targets:\n  - api_key: {KEY}: {KEY}\n")
        assert KEY not in str(raised.value)

    def test_a_login_in_an_address_is_refused_and_not_shown(self, read: Any) -> None:
        with pytest.raises(TelemetrySetupError) as raised:
            read({"targets": [{**ACME, "base_url": "https://me:secret@cycles.example"}]})
        assert str(raised.value).startswith("targets[0].base_url=<class 'str'> cannot be used")

    def test_one_tenant_on_two_servers_is_refused_since_their_series_would_be_mixed_up(self, read: Any) -> None:
        with pytest.raises(TelemetrySetupError, match=r"targets\[1\].base_url='http://other' .* a second exporter"):
            read({"targets": [ACME, {**ACME, "name": "b", "base_url": "http://other"}]})

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(
            TelemetrySetupError, match=r"--config='.*nothing.yaml' .* a file that can be read \(No such"
        ):
            read_targets(tmp_path / "nothing.yaml", Pace())


class TestTheEnvironment:
    def test_an_address_and_a_key_are_enough(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CYCLES_BASE_URL", "http://localhost:7878")
        monkeypatch.setenv("CYCLES_API_KEY", KEY)
        target = from_environment(Pace())
        assert (target.name, target.levels, target.key.read()) == ("localhost:7878", {}, KEY)

    def test_a_tenant_names_the_target_and_levels_narrow_it_down(self, monkeypatch: pytest.MonkeyPatch) -> None:
        values = {"BASE_URL": "http://localhost:7878", "API_KEY": KEY, "TENANT": "acme", "AGENT": "billing"}
        for name, value in values.items():
            monkeypatch.setenv(f"CYCLES_{name}", value)
        target = from_environment(Pace())
        assert (target.name, target.levels) == ("acme", {"tenant": "acme", "agent": "billing"})

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"CYCLES_BASE_URL": ""}, "CYCLES_BASE_URL='' cannot be used; accepted: an address such as http://local"),
            ({"CYCLES_BASE_URL": "acme"}, "CYCLES_BASE_URL='acme' cannot be used; accepted: an address"),
            ({"CYCLES_BASE_URL": "http://a:0"}, "CYCLES_BASE_URL='http://a:0' cannot be used; accepted: an address"),
            ({"CYCLES_API_KEY": ""}, "CYCLES_API_KEY='' cannot be used; accepted: the key of a tenant; or give the t"),
            ({"CYCLES_API_KEY": f"{KEY} x"}, "CYCLES_API_KEY=<class 'str'> cannot be used; accepted: a key of the"),
            ({"CYCLES_TENANT": "a b"}, "CYCLES_TENANT='a b' cannot be used; accepted: 1 to 128 of a-z"),
        ],
    )
    def test_each_mistake_names_the_variable(
        self, changed: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {"CYCLES_BASE_URL": "http://localhost", "CYCLES_API_KEY": KEY, **changed}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(TelemetrySetupError) as raised:
            from_environment(Pace())
        assert str(raised.value).startswith(said)
        assert KEY not in str(raised.value)


class TestThePage:
    def test_it_explains_every_number_of_a_pace(self) -> None:
        page = (Path(__file__).parents[2] / "docs" / "exporter.md").read_text(encoding="utf-8")
        defaults = {name: getattr(Pace(), name) for name in PACE_FIELDS}
        assert [name for name, value in defaults.items() if f"| `{name}` | {value:g} |" not in page] == []

"""Completion for the shell, as bash has it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cycles_otel.cli import main
from tests.cli.program import cycles_otel

COMPLETE = """\
{script}
COMP_WORDS=({words}) COMP_CWORD={position}
$(complete -p cycles-otel | sed 's/.*-F \\([^ ]*\\).*/\\1/') cycles-otel "{last}" "{before}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["jou"], {"journal"}),
        (["journal", "re"], {"replay"}),
        (["doctor", "--llm-u"], {"--llm-unit"}),
        (["doctor", "--llm-unit", "TOK"], {"TOKENS"}),
        (["completion", "fi"], {"fish"}),
        (["exporter", "--config", "targ"], {"targets.yaml"}),
        (["journal", "list", "--dir", "jour"], {"journals"}),
        (["dashboards", "export", "jour"], {"journals"}),
    ],
)
def test_bash_completes_commands_options_and_files(words: list[str], completed: set[str], tmp_path: Path) -> None:
    (tmp_path / "targets.yaml").write_text("")
    (tmp_path / "journals").mkdir()
    script = cycles_otel("completion", "bash").out
    program = COMPLETE.format(
        script=script,
        words=" ".join(["cycles-otel", *words]),
        position=len(words),
        last=words[-1],
        before=["cycles-otel", *words][-2],
    )
    done = subprocess.run(["bash", "--norc", "-c", program], capture_output=True, text=True, timeout=30, cwd=tmp_path)
    assert set(done.stdout.split()) == completed, done.stderr


@pytest.mark.parametrize(("shell", "begins"), [("zsh", "#compdef cycles-otel"), ("fish", "# "), ("tcsh", "# ")])
def test_the_script_for_another_shell_has_every_command(
    shell: str, begins: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert script.startswith(begins)
    for word in ("demo", "serve", "doctor", "journal", "replay", "exporter", "dashboards", "llm-unit"):
        assert word in script


def test_a_shell_that_is_not_known_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["completion", "ksh"])
    assert ended.value.code == 2
    assert "ksh" in capsys.readouterr().err

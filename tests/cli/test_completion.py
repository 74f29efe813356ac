"""Completion for the shell, as bash has it."""

from __future__ import annotations

import shutil
import subprocess

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
    [(["jou"], {"journal"}), (["journal", "re"], {"replay"}), (["doctor", "--llm-u"], {"--llm-unit"})],
)
def test_bash_completes_commands_and_options(words: list[str], completed: set[str]) -> None:
    script = cycles_otel("completion", "bash").out
    program = COMPLETE.format(
        script=script,
        words=" ".join(["cycles-otel", *words]),
        position=len(words),
        last=words[-1],
        before=["cycles-otel", *words][-2],
    )
    done = subprocess.run(["bash", "--norc", "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert set(done.stdout.split()) == completed, done.stderr


def test_a_shell_that_is_not_known_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["completion", "fish"])
    assert ended.value.code == 2
    assert "fish" in capsys.readouterr().err

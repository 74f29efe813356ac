"""Draws the demo in a terminal, as it really went: ``python -m scripts.pictures.terminal``.

The lines are those of a run that is made for it; of the sections two are left out, so that the picture fits a page.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from rich.console import Console

from cycles_otel.cli.demo.command import Options, run_demo

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "images" / "demo.svg"
WIDTH = 120
CUSTOMERS = 40
LEFT_OUT = ("The spans of a run", "Some lines of")


class Sections(Console):
    """A console that keeps what is printed on it, by sections: each begins with a bold line."""

    def __init__(self) -> None:
        super().__init__(file=io.StringIO(), width=WIDTH, highlight=False)
        self.sections: list[list[tuple[tuple[Any, ...], dict[str, Any]]]] = [[]]

    def print(self, *objects: Any, **options: Any) -> None:
        """Keep it as well."""
        super().print(*objects, **options)
        if options.get("style") == "bold":
            self.sections.append([])
        self.sections[-1].append((objects, options))


def svg(sections: Sections) -> str:
    """The picture of all sections but two, with the fonts of whoever looks at it: nothing is fetched."""
    drawn = Console(record=True, file=io.StringIO(), width=WIDTH, highlight=False)
    for section in sections.sections:
        title = str(section[0][0][0]) if section and section[0][0] else ""
        if title == LEFT_OUT[0] or title.startswith(LEFT_OUT[1]):
            continue
        for objects, options in section:
            drawn.print(*objects, **options)
    text = drawn.export_svg(title="cycles-otel demo", unique_id="demo")
    return re.sub(r"\s*@font-face \{.*?\}", "", text, flags=re.DOTALL).replace("Fira Code, ", "")


def main() -> None:
    """Run the demo, and write its picture."""
    sections = Sections()
    if run_demo(Options(customers=CUSTOMERS), sections):
        raise SystemExit("telemetry and ledger differ: there is nothing to show")
    PICTURE.write_text(svg(sections), encoding="utf-8")
    print(f"{PICTURE.name} is drawn.")


if __name__ == "__main__":
    main()

"""Draws the boards: ``python -m scripts.pictures``, with ``--prometheus URL`` from one that runs already."""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from pathlib import Path

from scripts.pictures.answers import Asker
from scripts.pictures.drawing import draw
from scripts.pictures.scene import SCRAPE, scene

ROOT = Path(__file__).parents[2]
WARMING_UP = 1.0
"""Minutes before the time range begins, so that averages are over something."""


def main() -> None:
    """Draw each board, and say which of its panels are empty."""
    parser = argparse.ArgumentParser(prog="python -m scripts.pictures", description=__doc__)
    parser.add_argument("boards", nargs="*", type=Path, default=sorted((ROOT / "dashboards").glob("*.json")))
    parser.add_argument("--prometheus", metavar="URL", help="draw what it has (default: let the desk of the demo work)")
    parser.add_argument("--minutes", type=float, default=8, help="how much time is shown (default: 8)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as running:
        url = given.prometheus or running.enter_context(scene())
        if not given.prometheus:
            print(f"The desk works for {given.minutes:g} minutes; meanwhile: {url}")
            time.sleep((given.minutes + WARMING_UP) * 60)
        for path in given.boards:
            _draw(path, url, given.minutes * 60, given.out / f"{path.stem}.png")


def _draw(path: Path, url: str, seconds: float, picture: Path) -> None:
    board, end = json.loads(path.read_text(encoding="utf-8")), time.time()
    asker = Asker(url, end - seconds, end, SCRAPE)
    asker.select(board)
    empty = draw(board, asker, picture)
    print(f"{picture.name}: {picture.stat().st_size // 1024} kB; empty: {', '.join(empty) or 'none'}")


if __name__ == "__main__":
    main()

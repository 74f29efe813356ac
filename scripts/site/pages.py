"""Which files of the repository are pages of the site, and where a link between two files leads there."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = "docs/"
BESIDE_DOCS = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "examples/README.md": "examples.md",
    "examples/fastapi_service/README.md": "service.md",
    "deploy/README.md": "deploy.md",
    "collector-config/README.md": "collector.md",
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/RESULTS.md": "benchmark-results.md",
    "dashboards/README.md": "rules.md",
    **{
        path.relative_to(ROOT).as_posix(): f"runbooks/{path.name}"
        for path in sorted((ROOT / "dashboards" / "runbooks").glob("*.md"))
    },
}
"""Pages that live beside what they are about, by their path in the repository."""
_LINK = re.compile(r"(?P<open>!?\[(?P<text>[^\[\]]*)\]\(|\]\()(?P<target>[^()\s]+)\)")
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|#|/")


def page_of(path: str) -> str | None:
    """The page that a file of the repository is, or None.

    Parameters
    ----------
    path: from the root of the repository; a folder is its README.
    """
    for each in (path, posixpath.join(path, "README.md")):
        if each in BESIDE_DOCS:
            return BESIDE_DOCS[each]
    return path.removeprefix(DOCS) if path.startswith(DOCS) and (ROOT / path).is_file() else None


def source_of(page: str) -> str:
    """The file of the repository that a page is."""
    return next((path for path, each in BESIDE_DOCS.items() if each == page), DOCS + page)


def links(markdown: str) -> Iterator[str]:
    """The targets of all links and pictures that stay in the repository; what looks like one in code is none."""
    for line, is_code in _lines(markdown):
        if not is_code:
            yield from (found["target"] for found in _LINK.finditer(line) if not _ELSEWHERE.match(found["target"]))


def relinked(markdown: str, source: str) -> str:
    """The page's text with its links as the site has them; a file that is no page of it is named instead of linked."""

    def relink(found: re.Match[str]) -> str:
        if _ELSEWHERE.match(found["target"]):
            return found[0]
        path, mark, anchor = found["target"].partition("#")
        page = page_of(resolved(path, source))
        if page is None:
            return found["text"] or found[0]
        here = posixpath.dirname(page_of(source) or "")
        return f"{found['open']}{posixpath.relpath(page, here or '.')}{mark}{anchor})"

    return "".join(line if is_code else _LINK.sub(relink, line) for line, is_code in _lines(markdown))


def resolved(target: str, source: str) -> str:
    """The path from the root of the repository that a link in ``source`` means."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))


def _lines(markdown: str) -> Iterator[tuple[str, bool]]:
    fence = ""
    for line in markdown.splitlines(keepends=True):
        mark = re.match(r"\s*(`{3,}|~{3,})", line)
        if mark and not fence:
            fence = mark[1]
            yield line, True
        elif mark and line.strip() == fence:
            fence = ""
            yield line, True
        else:
            yield line, bool(fence)

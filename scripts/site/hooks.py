"""MkDocs calls these while it builds the site."""

from __future__ import annotations

import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from scripts.site import api, cheat_sheet, command_line
from scripts.site.pages import BESIDE_DOCS, ROOT, relinked, source_of

GENERATED = {"api": api.markdown, "cheat-sheet": cheat_sheet.markdown, "command-line": command_line.markdown}
"""What stands in a page where it says ``<!-- generated: NAME -->``."""
_MARK = re.compile(r"^<!-- generated: (\S+) -->$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not live in ``docs/``."""
    for path, page in BESIDE_DOCS.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to where the site has their files, then fill in what is generated."""
    return _MARK.sub(_generated, relinked(markdown, source_of(page.file.src_uri)))


def _generated(mark: re.Match[str]) -> str:
    if mark[1] not in GENERATED:
        raise PluginError(f"{mark[0]!r} is not accepted: the name is one of {', '.join(GENERATED)}")
    return GENERATED[mark[1]]()

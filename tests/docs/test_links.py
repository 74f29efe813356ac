"""Links between the project's pages lead somewhere, on the site as in the repository; the site has every page."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import yaml

from scripts.site.pages import BESIDE_DOCS, ROOT, links, page_of, relinked, resolved
from tests.docs.blocks import pages, text_of


def headings(page: str) -> set[str]:
    """The anchors of a page, as Markdown's table of contents makes them of its headings."""
    titles = re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


@pytest.mark.parametrize("page", pages())
def test_links_lead_to_files_and_headings_that_there_are(page: str) -> None:
    for target in links(text_of(page)):
        path, _, anchor = target.partition("#")
        file = resolved(path, page)
        assert (ROOT / file).exists(), f"{page}: there is no {target}"
        assert not anchor or anchor in headings(file), f"{page}: there is no heading for {target}"


@pytest.mark.parametrize("page", pages())
def test_a_link_within_a_page_leads_to_one_of_its_headings(page: str) -> None:
    anchors = re.findall(r"\]\(#([^)]+)\)", text_of(page))
    assert set(anchors) <= headings(page)


def in_navigation(entries: list[object]) -> Iterator[str]:
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from in_navigation(value) if isinstance(value, list) else [str(value)]


def test_every_page_is_in_the_navigation_once() -> None:
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    written = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(in_navigation(navigation)) == sorted([*written, *BESIDE_DOCS.values()])


class TestLinksOfTheSite:
    def test_a_link_to_a_page_from_elsewhere_leads_to_where_the_site_has_it(self) -> None:
        assert (
            relinked("see [it](../deploy/README.md#one-machine)", "docs/tutorial.md")
            == "see [it](deploy.md#one-machine)"
        )
        assert (
            relinked("[it](CyclesUnavailable.md)", "dashboards/runbooks/CyclesLatencyHigh.md")
            == "[it](CyclesUnavailable.md)"
        )
        assert relinked("[it](docs/money.md)", "README.md") == "[it](money.md)"
        assert (
            relinked("[it](runbooks/CyclesUnavailable.md)", "dashboards/README.md")
            == "[it](runbooks/CyclesUnavailable.md)"
        )

    def test_a_folder_is_its_readme(self) -> None:
        assert page_of("examples") == "examples.md"
        assert relinked("[all](examples/)", "README.md") == "[all](examples.md)"

    def test_a_file_that_is_no_page_is_named_and_not_linked(self) -> None:
        assert (
            relinked("in [`rules/alerts.yaml`](rules/alerts.yaml)", "dashboards/README.md") == "in `rules/alerts.yaml`"
        )

    def test_a_picture_that_is_a_link_keeps_both(self) -> None:
        written = "[![A board](docs/images/agents.png)](docs/dashboards.md)"
        assert relinked(written, "README.md") == "[![A board](images/agents.png)](dashboards.md)"

    def test_code_and_addresses_stay_as_they_are(self) -> None:
        text = "```text\n[it](docs/money.md)\n```\n[out](https://example.com/docs) [here](#below)\n"
        assert relinked(text, "README.md") == text

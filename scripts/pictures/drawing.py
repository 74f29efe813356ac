"""Draws a board as one picture, much as Grafana's dark theme shows it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from matplotlib import dates, rcParams
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from scripts.pictures.answers import Asker, Series
from scripts.pictures.figures import spelled

PAGE, CARD, LINE, INK, DIM = "#111217", "#181b1f", "#2c3235", "#d8d9da", "#8e9297"
COLORS = {
    "green": "#73bf69",
    "yellow": "#fade2a",
    "orange": "#ff9830",
    "red": "#f2495c",
    "blue": "#5794f2",
    "purple": "#b877d9",
    "gray": "#8e9297",
}
PALETTE = ("#73bf69", "#5794f2", "#ff9830", "#b877d9", "#fade2a", "#8ab8ff", "#f2495c", "#37872d", "#ffb357", "#ca95e5")
UNIT_HEIGHT, HEADING, WIDTH = 0.38, 0.62, 17.0
"""Inches: a unit of a panel's height, the title of the board, the picture."""

rcParams.update({"font.family": "DejaVu Sans", "text.parse_math": False, "axes.linewidth": 0.6})


def draw(board: dict[str, Any], asker: Asker, out: Path) -> list[str]:
    """Draw the board; returns the titles of the panels that have no data."""
    panels = [panel for panel in board["panels"] if not panel.get("collapsed")]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    height = rows * UNIT_HEIGHT + HEADING
    figure = Figure(figsize=(WIDTH, height), facecolor=PAGE)
    figure.text(0.008, 1 - 0.38 / height, board["title"], color=INK, size=15, weight="bold")
    links = "     ".join(f"→ {link['title']}" for link in board["links"])
    figure.text(0.992, 1 - 0.38 / height, links, color=COLORS["blue"], size=9, ha="right")
    empty = []
    for panel in panels:
        place = panel["gridPos"]
        bottom = 1 - (HEADING + (place["y"] + place["h"]) * UNIT_HEIGHT) / height
        box = (place["x"] / 24, bottom, place["w"] / 24, place["h"] * UNIT_HEIGHT / height)
        if not _drawn(figure, box, height, panel, asker):
            empty.append(panel["title"])
    figure.savefig(out, dpi=80, facecolor=PAGE)
    # A tenth of the size, and hardly to be told from the original.
    Image.open(out).convert("RGB").quantize(96).save(out, optimize=True)
    return empty


def _drawn(
    figure: Figure, box: tuple[float, float, float, float], height: float, panel: dict[str, Any], asker: Asker
) -> bool:
    """Draw one panel; False where it has no data."""
    x, y, w, h = box
    if panel["type"] == "row":
        figure.text(x + 0.008, y + h * 0.3, f"▾ {panel['title']}", color=INK, size=11, weight="bold")
        return True
    card = Rectangle((x + 0.002, y + 0.04 / height), w - 0.004, h - 0.08 / height, facecolor=CARD, edgecolor=LINE)
    card.set(transform=figure.transFigure, linewidth=0.8, zorder=-1)
    figure.add_artist(card)
    figure.text(x + 0.008, y + h - 0.3 / height, panel["title"], color=INK, size=9.5, weight="bold")
    kind, series = panel["type"], asker.ask(panel)
    inner = (x + 0.006, y + 0.1 / height, w - 0.012, h - 0.5 / height)
    if kind in ("timeseries", "heatmap") and series:
        inner = (x + 0.042, y + 0.72 / height, w - 0.052, h - 1.2 / height)
    axes = figure.add_axes(inner)
    axes.set_facecolor("none")
    if not series:
        axes.axis("off")
        words = panel["fieldConfig"]["defaults"].get("noValue", "No data")
        axes.text(0.5, 0.5, words, color=DIM, size=10, ha="center", va="center")
        return False
    _KINDS[kind](axes, panel, series, asker)
    return True


def _stat(axes: Axes, panel: dict[str, Any], series: Sequence[Series], _: Asker) -> None:
    axes.axis("off")
    defaults, value = panel["fieldConfig"]["defaults"], series[0].last
    mapped = _mapped(defaults, value)
    words, color = mapped or (spelled(value, defaults), _at(defaults, value))
    axes.text(0.5, 0.5, words, color=color, size=21, weight="bold", ha="center", va="center")


def _bars(axes: Axes, panel: dict[str, Any], series: Sequence[Series], _: Asker) -> None:
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    defaults, shown = panel["fieldConfig"]["defaults"], series[:10]
    largest = defaults.get("max") or max((one.last for one in shown), default=1) or 1
    room = 1 / max(len(shown), 4)
    for index, one in enumerate(shown):
        y, color = 1 - (index + 1) * room, _at(defaults, one.last)
        axes.text(0.01, y + room * 0.72, one.name[:52], color=INK, size=7.5, va="center")
        axes.add_patch(Rectangle((0.01, y + room * 0.12), 0.82, room * 0.36, color=LINE))
        axes.add_patch(Rectangle((0.01, y + room * 0.12), 0.82 * min(one.last / largest, 1), room * 0.36, color=color))
        words = spelled(one.last, defaults)
        axes.text(0.99, y + room * 0.3, words, color=color, size=9, weight="bold", ha="right", va="center")


def _lines(axes: Axes, panel: dict[str, Any], series: Sequence[Series], asker: Asker) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    custom, fixed = defaults.get("custom", {}), _fixed_colors(panel)
    names = sorted({one.name for one in series})
    colors = {name: fixed.get(name, PALETTE[index % len(PALETTE)]) for index, name in enumerate(names)}
    if custom.get("stacking", {}).get("mode") == "normal":
        _stack(axes, series, colors, asker)
    else:
        for one in series:
            xs, ys = zip(*one.points, strict=True)
            axes.plot([_time(x) for x in xs], ys, color=colors[one.name], lw=1.2)
    for target in panel["targets"]:
        if target.get("exemplar"):
            points = asker.exemplars(target)[-150:]
            if defaults.get("unit") == "s":
                axes.scatter(
                    [_time(x) for x, _ in points], [y for _, y in points], s=7, c="#8ab8ff", marker="D", alpha=0.5
                )
    if custom.get("scaleDistribution", {}).get("type") == "log":
        axes.set_yscale("log")
    if defaults.get("min") is not None:
        axes.set_ylim(bottom=defaults["min"])
    if custom.get("thresholdsStyle", {}).get("mode") == "dashed":
        low, high = axes.get_ylim()
        for step in defaults["thresholds"]["steps"]:
            if step.get("value") is not None and step["value"] <= high * 1.25:
                axes.axhline(step["value"], color=COLORS[step["color"]], ls="--", lw=0.8)
        axes.set_ylim(low, None)
    _finish(axes, defaults, asker)
    shown = names[:4] if max(map(len, names)) > 24 else names[:6]
    handles = [Rectangle((0, 0), 1, 0.2, color=colors[name]) for name in shown]
    labels = [name[:44] for name in shown]
    columns = 2 if panel["gridPos"]["w"] < 12 and max(map(len, labels)) > 24 else 3
    if len(names) > len(shown):
        handles.append(Rectangle((0, 0), 0, 0, alpha=0))
        labels.append(f"… {len(names) - len(shown)} more")
    axes.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(-0.06, -0.1),
        ncol=columns,
        frameon=False,
        labelcolor=DIM,
        fontsize=7,
        handlelength=1.2,
        handleheight=0.3,
        columnspacing=1.2,
        labelspacing=0.25,
    )


def _stack(axes: Axes, series: Sequence[Series], colors: dict[str, str], asker: Asker) -> None:
    times = sorted({at for one in series for at, _ in one.points})
    lower = dict.fromkeys(times, 0.0)
    for one in series:
        values = dict(one.points)
        upper = {at: lower[at] + values.get(at, 0.0) for at in times}
        xs, color = [_time(at) for at in times], colors[one.name]
        axes.fill_between(xs, [lower[at] for at in times], [upper[at] for at in times], color=color, alpha=0.35, lw=0)
        axes.plot(xs, [upper[at] for at in times], color=color, lw=1)
        lower = upper


def _heat(axes: Axes, panel: dict[str, Any], series: Sequence[Series], asker: Asker) -> None:
    buckets = sorted((one for one in series if "le" in one.labels), key=lambda one: float(one.labels["le"]))
    times = sorted({at for one in buckets for at, _ in one.points})
    rows, below = [], dict.fromkeys(times, 0.0)
    for one in buckets:
        values = dict(one.points)
        rows.append([max(values.get(at, 0.0) - below[at], 0.0) or math.nan for at in times])
        below = {at: values.get(at, below[at]) for at in times}
    edges = [_time(at) for at in (*times, times[-1] + asker.step)]
    # Cells with next to nothing in them are left out, as Grafana does.
    cells = [[math.nan if value < 1e-6 else value for value in row] for row in rows]
    axes.pcolormesh(edges, range(len(buckets) + 1), cells, cmap="turbo", norm=LogNorm(clip=True))
    axes.set_yticks([index + 1 for index in range(len(buckets))])
    defaults = {**panel["fieldConfig"]["defaults"], "unit": panel["options"]["yAxis"].get("unit", "")}
    texts = [
        one.labels["le"] if one.labels["le"] == "+Inf" else spelled(float(one.labels["le"]), defaults)
        for one in buckets
    ]
    _finish(axes, None, asker)
    axes.set_yticklabels(texts, fontsize=6.5)


def _finish(axes: Axes, defaults: dict[str, Any] | None, asker: Asker) -> None:
    axes.set_xlim(_time(asker.start), _time(asker.end))
    axes.tick_params(colors=DIM, labelsize=7, length=0)
    axes.grid(color=LINE, lw=0.5)
    axes.xaxis.set_major_locator(dates.AutoDateLocator(minticks=3, maxticks=6))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
    if defaults is not None:
        axes.yaxis.set_major_formatter(lambda value, _: spelled(value, {"unit": defaults.get("unit", "")}))
    for side in axes.spines.values():
        side.set_visible(False)


def _table(axes: Axes, panel: dict[str, Any], series: Sequence[Series], _: Asker) -> None:
    axes.axis("off")
    columns, rows = table_of(panel, series)
    styles = {one["matcher"]["options"]: one["properties"] for one in panel["fieldConfig"]["overrides"]}
    shown = rows[: max(3, int(panel["gridPos"]["h"] * 1.05) - 1)]
    axes.set(xlim=(0, 1), ylim=(0, 1))
    widths = _widths(columns, shown, styles)
    room = 1 / max(panel["gridPos"]["h"] * 1.05, len(shown) + 1)
    x = 0.004
    for column, width in zip(columns, widths, strict=True):
        style = {one["id"]: one["value"] for one in styles.get(column, [])}
        axes.text(x, 1 - room / 2, column, color=COLORS["blue"], size=8, weight="bold", va="center")
        for index, row in enumerate(shown):
            _cell(axes, (x, 1 - (index + 1.5) * room, width, room), row.get(column, ""), style)
        x += width
    for index in range(len(shown)):
        axes.axhline(1 - (index + 1) * room, color=LINE, lw=0.6)


def _cell(axes: Axes, place: tuple[float, float, float, float], value: str | float, style: dict[str, Any]) -> None:
    x, y, width, room = place
    if isinstance(value, str):
        linked = "links" in style
        axes.text(x, y, value[: int(width * 190)], color=COLORS["blue"] if linked else INK, size=8, va="center")
        return
    defaults = {"unit": style.get("unit", "short"), "decimals": style.get("decimals")}
    color = _at(style, value) if "thresholds" in style else INK
    words = spelled(value, defaults)
    if "mappings" in style and (mapped := _mapped(style, value)):
        words, color = mapped
    if style.get("custom.cellOptions", {}).get("type") == "gauge":
        color = color if "thresholds" in style else COLORS["green"]
        axes.add_patch(Rectangle((x, y - room * 0.28), width * 0.62, room * 0.56, color=LINE))
        filled = width * 0.62 * min(max(value, 0), 1)
        axes.add_patch(Rectangle((x, y - room * 0.28), filled, room * 0.56, color=color))
        x += width * 0.66
    axes.text(x, y, words, color=color, size=8, va="center")


def table_of(panel: dict[str, Any], series: Sequence[Series]) -> tuple[list[str], list[dict[str, str | float]]]:
    """Columns and rows as Grafana's transformations merge, name, order and sort them."""
    organize = next(one for one in panel["transformations"] if one["id"] == "organize")["options"]
    names, order, hidden = organize["renameByName"], organize["indexByName"], organize["excludeByName"]
    only = len(panel["targets"]) == 1
    rows: dict[tuple[tuple[str, str], ...], dict[str, str | float]] = {}
    for one in series:
        row = rows.setdefault(tuple(sorted(one.labels.items())), dict(one.labels))
        row["Value" if only else f"Value #{one.ref}"] = one.last
    columns = [names[source] for source in sorted(order, key=order.__getitem__) if not hidden.get(source)]
    named = [{names[key]: value for key, value in row.items() if key in names} for row in rows.values()]
    for by in panel["options"].get("sortBy", []):
        named.sort(key=lambda row, by=by["displayName"]: _order(row.get(by)), reverse=bool(by.get("desc")))
    return columns, named


def _order(value: str | float | None) -> tuple[float, str]:
    """Cells without a value come first, then numbers, then texts."""
    if value is None:
        return -math.inf, ""
    return (value, "") if isinstance(value, float) else (math.inf, value)


def _widths(columns: Sequence[str], rows: Sequence[dict[str, Any]], styles: dict[str, Any]) -> list[float]:
    def weight(column: str) -> float:
        set_width = next((one["value"] for one in styles.get(column, []) if one["id"] == "custom.width"), None)
        texts = [row.get(column) for row in rows]
        longest = max((len(text) for text in texts if isinstance(text, str)), default=8)
        return float(set_width or max(90, 10 * len(column), 7.5 * longest))

    weights = [weight(column) for column in columns]
    return [one / sum(weights) for one in weights]


def _fixed_colors(panel: dict[str, Any]) -> dict[str, str]:
    return {
        one["matcher"]["options"]: COLORS[each["value"]["fixedColor"]]
        for one in panel["fieldConfig"]["overrides"]
        for each in one["properties"]
        if each["id"] == "color" and one["matcher"]["id"] == "byName"
    }


def _mapped(defaults: dict[str, Any], value: float) -> tuple[str, str] | None:
    for mapping in defaults.get("mappings") or []:
        result = mapping["options"].get(f"{value:g}")
        if result:
            return result["text"], COLORS[result["color"]]
    return None


def _at(defaults: dict[str, Any], value: float) -> str:
    """The colour that the thresholds give a value."""
    steps = (defaults.get("thresholds") or {}).get("steps", [])
    reached = [step["color"] for step in steps if step.get("value") is None or value >= step["value"]]
    return COLORS[reached[-1]] if reached else INK


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, timezone.utc)


_KINDS: dict[str, Callable[[Axes, dict[str, Any], Sequence[Series], Asker], None]] = {
    "stat": _stat,
    "bargauge": _bars,
    "timeseries": _lines,
    "heatmap": _heat,
    "table": _table,
}

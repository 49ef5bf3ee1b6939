"""
Plain charts as SVG: a hundred times quicker to make than a matplotlib figure, for reports that have dozens of them.

Numbers are written with two decimals, so that the same chart gives the same bytes; all text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from include.evaluation.canvas_colours import BLUE, GREY, ORANGE

__all__ = ["BLUE", "GREY", "ORANGE", "Point", "draw_bars", "draw_points"]

_LEFT, _TOP, _LABELS = 44.0, 46.0, 74.0  # room for the axis, the title and the slanted labels
_TEXT, _LINE = "#2b2f36", "#e6e8eb"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value of a series, with its interval and what it is held against, where there are such."""

    label: str
    value: float
    color: str
    low: float | None = None
    high: float | None = None
    reference: float | None = None


def draw_bars(
    title: str,
    note: str,
    *,
    labels: Sequence[str],
    bars: Sequence[tuple[str, str, Sequence[float]]],
    width: int = 420,
    height: int = 230,
) -> bytes:
    """
    Draw shares side by side.

    Parameters
    ----------
    title, note : str
        Above the chart, and below its title.
    labels : sequence of str, of shape (n_places,)
        What each place is.
    bars : sequence of (name, colour, values of shape (n_places,))
        Side by side at each place; values are shares, >= 0.
    width, height : int
        In pixels.

    """
    top = _nice_top(max((value for _, _, values in bars for value in values), default=1.0))
    plot_width, plot_height = width - _LEFT - 8, height - _TOP - _LABELS
    slot = plot_width / max(1, len(labels))
    parts = [
        *_head(title, note),
        *_grid(0.0, top, width=width, plot_height=plot_height),
        *_legend([(n, c) for n, c, _ in bars], width),
    ]
    bar = 0.8 * slot / max(1, len(bars))
    for j, (_, color, values) in enumerate(bars):
        for i, value in enumerate(values):
            tall = plot_height * value / top
            x, y = _LEFT + slot * i + 0.1 * slot + bar * j, _TOP + plot_height - tall
            parts.append(f'<rect x="{x:.2f}" y="{y:.2f}" width="{bar:.2f}" height="{tall:.2f}" fill="{color}"/>')
    parts += _place_labels(labels, slot=slot, y=_TOP + plot_height)
    return _svg(parts, width=width, height=height)


def draw_points(
    title: str, note: str, points: Sequence[Point], *, is_from_zero: bool = False, width: int = 640, height: int = 250
) -> bytes:
    """Draw values one after another, each with its interval; a dashed line shows what they are held against."""
    seen = [v for p in points for v in (p.value, p.low, p.high, p.reference) if v is not None and math.isfinite(v)]
    room = 0.08 * (max(seen) - min(seen)) or 0.05
    bottom, top = (0.0, _nice_top(max(seen))) if is_from_zero else (min(seen) - room, max(seen) + room)
    plot_height, slot = height - _TOP - _LABELS, (width - _LEFT - 8) / max(1, len(points))

    def at(value: float) -> float:
        return _TOP + plot_height * (1 - (value - bottom) / (top - bottom))

    parts = [*_head(title, note), *_grid(bottom, top, width=width, plot_height=plot_height)]
    for i, point in enumerate(points):
        left, x = _LEFT + slot * i, _LEFT + slot * (i + 0.5)
        if point.reference is not None:
            y = at(point.reference)
            parts.append(
                f'<line x1="{left:.2f}" x2="{left + slot:.2f}" y1="{y:.2f}" y2="{y:.2f}" stroke="{GREY}" '
                'stroke-dasharray="4 3"/>'
            )
        if point.low is not None and point.high is not None:
            ends = f'y1="{at(point.low):.2f}" y2="{at(point.high):.2f}"'
            parts.append(f'<line x1="{x:.2f}" x2="{x:.2f}" {ends} stroke="{point.color}" stroke-width="1.6"/>')
        parts.append(f'<circle cx="{x:.2f}" cy="{at(point.value):.2f}" r="3.2" fill="{point.color}"/>')
    every = math.ceil(len(points) / 24)
    labels = [point.label if i % every == 0 else "" for i, point in enumerate(points)]
    parts += _place_labels(labels, slot=slot, y=_TOP + plot_height)
    return _svg(parts, width=width, height=height)


def _head(title: str, note: str) -> Iterator[str]:
    yield f'<text x="8" y="17" font-size="13" font-weight="bold">{escape(title)}</text>'
    yield f'<text x="8" y="33" font-size="11" fill="{GREY}">{escape(note)}</text>'


def _grid(bottom: float, top: float, *, width: int, plot_height: float) -> Iterator[str]:
    for i in range(5):
        value, y = bottom + (top - bottom) * i / 4, _TOP + plot_height * (1 - i / 4)
        yield f'<line x1="{_LEFT}" x2="{width - 8}" y1="{y:.2f}" y2="{y:.2f}" stroke="{_LINE}"/>'
        yield f'<text x="{_LEFT - 5}" y="{y + 3.5:.2f}" text-anchor="end">{value:.3g}</text>'


def _legend(entries: Sequence[tuple[str, str]], width: int) -> Iterator[str]:
    for i, (name, color) in enumerate(entries):
        x = width - 72 * (len(entries) - i)
        yield (
            f'<rect x="{x}" y="9" width="9" height="9" fill="{color}"/><text x="{x + 13}" y="17">{escape(name)}</text>'
        )


def _place_labels(labels: Sequence[str], *, slot: float, y: float) -> Iterator[str]:
    size = 10 if slot >= 12 else 7
    for i, label in enumerate(labels):
        if label:
            x = _LEFT + slot * (i + 0.5)
            turned = f'transform="rotate(-50 {x:.2f} {y + 11:.2f})"'
            yield (
                f'<text x="{x:.2f}" y="{y + 11:.2f}" font-size="{size}" text-anchor="end" '
                f"{turned}>{escape(label)}</text>"
            )


def _nice_top(value: float) -> float:
    """The next of 1, 2, 2.5, 5 and 10 times a power of ten."""
    if not value > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * (1 - 1e-9))


def _svg(parts: Sequence[str], *, width: int, height: int) -> bytes:
    look = f'font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="10" fill="{_TEXT}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f"{look}>"
    )
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>"]).encode()

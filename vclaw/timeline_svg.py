"""Draws a timeline as SVG text: one bar of all phases, below it every span on its own line; pure.

SVG 1.1, without scripts, fonts of its own or anything fetched: any browser or viewer shows it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from vclaw.timeline import Record, Span, phases, spans

WIDTH = 960
MARGIN = 24
LABELS = 170
"""Pixels left of the bars, for their names."""

TAIL = 64
"""Pixels right of the bars, for the last one's seconds."""

ROW = 20
"""Pixels from one span to the next."""

SUMMARY_TOP, SUMMARY_HEIGHT = 64, 34

LEGEND_COLUMN = 152

COLOURS = {
    "prepare": "#475569",
    "image": "#0e7490",
    "runtime": "#15803d",
    "copy": "#a16207",
    "seed": "#be185d",
    "boot": "#b91c1c",
    "guest": "#7e22ce",
    "gateway": "#1d4ed8",
}
"""Phase -> its colour, dark enough for white text."""

OTHER_COLOUR = "#6b7280"

GROUPS = {
    "host": "On the host: the stages",
    "guest": "In the guest: the boot and its steps",
    "checks": "Readiness: until each check held",
}

TICK_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)
"""Seconds between two lines of the time axis; the first that gives few enough is taken."""

TICKS_MAX = 10


def draw(record: Record, name: str, when: str) -> str:
    """The picture of one boot of the claw `name`; `when` is a text for its date."""
    bars = spans(record)
    total = max([bar.end for bar in bars], default=0.0)
    legend_rows = -(-len(phases(record)) // _per_row())
    top = SUMMARY_TOP + SUMMARY_HEIGHT + 16 + legend_rows * ROW + 34
    chart, bottom = _chart(bars, total, top)
    body = [*_head(record, name, when), *_summary(record), *_axis(total, top, bottom), *chart]
    height = bottom + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
            f' viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12"'
            ' fill="#1f2937">',
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            *body,
            "</svg>",
            "",
        ]
    )


def ticks(total: float) -> list[float]:
    """The times in seconds at which the axis has a line: from 0, round numbers, at most eleven."""
    step = next((s for s in TICK_STEPS if total / s <= TICKS_MAX), 0.0)
    if not step:
        step = math.ceil(total / TICKS_MAX / 3600) * 3600.0
    return [round(number * step, 3) for number in range(int(total / step) + 1)]


def duration(seconds: float) -> str:
    """`0.42 s`, `61.7 s`, `3 min 12 s`."""
    if seconds < 0.995:
        return f"{seconds:.2f} s"
    if seconds < 119.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def _head(record: Record, name: str, when: str) -> list[str]:
    ready = next((stage for stage in record.stages if stage.name == "ready"), None)
    failed = [stage.name for stage in record.stages if stage.outcome == "failed"]
    took = sum(seconds for _, seconds in phases(record))
    state = "booted" if ready is None else "ready"
    if failed:
        state = f"stage {failed[-1]} failed"
    title = f"{name}: {state} after {duration(took)}"
    return [
        f"<title>{escape(title)}</title>",
        _text(MARGIN, 34, title, 'font-size="20" font-weight="bold"'),
        _text(WIDTH - MARGIN, 34, when, 'text-anchor="end" fill="#6b7280"'),
    ]


def _summary(record: Record) -> list[str]:
    """One bar of all phases after each other, and its legend."""
    parts = phases(record)
    total = sum(seconds for _, seconds in parts) or 1.0
    scale = (WIDTH - 2 * MARGIN) / total
    lines, x = [], float(MARGIN)
    for number, (phase, seconds) in enumerate(parts):
        width = seconds * scale
        label = f"{phase} {duration(seconds)}"
        lines.append(_rect(x, SUMMARY_TOP, width, SUMMARY_HEIGHT, _colour(phase), label))
        if width > 8 * len(label):
            style = 'fill="#ffffff" font-size="13" font-weight="bold"'
            lines.append(_text(x + 8, SUMMARY_TOP + 22, label, style))
        x += width
        row, column = divmod(number, _per_row())
        left, y = MARGIN + column * LEGEND_COLUMN, SUMMARY_TOP + SUMMARY_HEIGHT + 16 + row * ROW
        lines.append(_rect(left, y, 12, 12, _colour(phase), ""))
        lines.append(_text(left + 18, y + 10, label, ""))
    return lines


def _per_row() -> int:
    return (WIDTH - 2 * MARGIN) // LEGEND_COLUMN


def _axis(total: float, top: int, bottom: int) -> list[str]:
    lines = []
    for at in ticks(total) if total else []:
        x = _x(at, total)
        lines.append(
            f'<line x1="{x:.1f}" y1="{top - 8}" x2="{x:.1f}" y2="{bottom}" stroke="#e5e7eb"/>'
        )
        style = 'text-anchor="middle" font-size="11" fill="#6b7280"'
        lines.append(_text(x, top - 14, f"{at:g} s", style))
    return lines


def _chart(bars: Sequence[Span], total: float, top: int) -> tuple[list[str], int]:
    """The spans below each other, by group; returns the lines and where they end."""
    lines: list[str] = []
    y = top
    for group, heading in GROUPS.items():
        rows = [bar for bar in bars if bar.group == group]
        if not rows:
            continue
        lines.append(_text(MARGIN, y + 14, heading, 'font-weight="bold"'))
        y += ROW + 2
        for bar in rows:
            lines += _row(bar, total, y)
            y += ROW
        y += 8
    return lines, y


def _row(bar: Span, total: float, y: int) -> list[str]:
    left, right = _x(bar.start, total), _x(bar.end, total)
    note = "" if bar.outcome == "done" else f" ({bar.outcome})"
    said = duration(bar.end - bar.start) + note
    colour = "#b91c1c" if bar.outcome == "failed" else _colour(bar.phase)
    # A word beside a bar that ends at the right edge would leave the picture.
    fits = right + 6 + 7 * len(said) <= WIDTH - 4
    where = (right + 6, "start") if fits else (left - 6, "end")
    return [
        _text(MARGIN + LABELS - 10, y + 13, bar.name, 'text-anchor="end"'),
        _rect(left, y + 3, right - left, ROW - 6, colour, f"{bar.name}: {said}"),
        _text(where[0], y + 13, said, f'font-size="11" fill="#374151" text-anchor="{where[1]}"'),
    ]


def _x(seconds: float, total: float) -> float:
    left = MARGIN + LABELS
    return left + (WIDTH - MARGIN - TAIL - left) * (seconds / total if total else 0.0)


def _colour(phase: str) -> str:
    return COLOURS.get(phase, OTHER_COLOUR)


def _rect(x: float, y: float, width: float, height: float, colour: str, hint: str) -> str:
    """A box at least as wide as can be seen; `hint` shows where the pointer rests on it."""
    box = (
        f'<rect x="{x:.1f}" y="{y:g}" width="{max(width, 1.5):.1f}" height="{height:g}"'
        f' fill="{colour}"'
    )
    return f"{box}><title>{escape(hint)}</title></rect>" if hint else f"{box}/>"


def _text(x: float, y: float, text: str, style: str) -> str:
    style = f" {style}" if style else ""
    return f'<text x="{x:.1f}" y="{y:g}"{style}>{escape(text)}</text>'

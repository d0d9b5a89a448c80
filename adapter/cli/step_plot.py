"""Supply and demand with their cross, as one SVG without script, style sheet or outside font.

Both axes count millionths; a pixel position is the only thing that is ever rounded.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path

from adapter.cli.output import misuse
from adapter.domain.quantities import to_text

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 88, 28, 64, 60
TICKS = 6
"""About so many numbers stand at an axis."""
TENTHS = 10
"""Positions are tenths of a pixel, which also bounds the points of a long line."""

_INK, _FAINT, _SUPPLY, _DEMAND = "#222222", "#dddddd", "#0b5cad", "#b3400a"
_HALO = 'font-weight="bold" stroke="#ffffff" stroke-width="4" paint-order="stroke"'
_FONT = 'font-family="DejaVu Sans, Arial, sans-serif"'

Point = tuple[int, int]
"""Quantity and price, in millionths."""


@dataclass(frozen=True, slots=True)
class Plot:
    """What to draw."""

    title: str
    quantity_label: str
    price_label: str
    supply: Sequence[Point]
    """A line from the left, rising."""
    demand: Sequence[Point]
    """A line from the left, falling."""
    cross: Point | None
    """Where they meet; None when nothing trades."""
    result: str
    """What the cross says, in words."""


@dataclass(frozen=True, slots=True)
class _Axis:
    """Values along a stretch of pixels."""

    low: int
    high: int
    step: int
    start: int
    """Pixel of `low`."""
    length: int
    """Pixels to `high`; negative upwards."""

    def at(self, value: int) -> int:
        """Return the tenth of a pixel of a value."""
        tenths = TENTHS * self.length * (value - self.low) // (self.high - self.low)
        return TENTHS * self.start + tenths

    def ticks(self) -> range:
        """Return the values that stand at the axis."""
        return range(self.low, self.high + 1, self.step)


def write_plot(file: str, plot: Plot) -> None:
    """Write a drawing to a file; end the command when that cannot be done."""
    try:
        Path(file).write_text(svg(plot), encoding="utf-8")
    except (OSError, ValueError) as error:
        misuse(f"--plot: {file[:200]}: {getattr(error, 'strerror', None) or 'no usable name'}")


def svg(plot: Plot) -> str:
    """Return the drawing."""
    points = [*plot.supply, *plot.demand, *([plot.cross] if plot.cross else [])]
    x = _axis([0, *(point[0] for point in points)], LEFT, WIDTH - LEFT - RIGHT)
    prices = [point[1] for point in points]
    air = (max(prices) - min(prices)) // 20 if prices else 0
    roomy = [max(0, min(prices) - air), max(prices) + air] if prices else []
    y = _axis(roomy, HEIGHT - BOTTOM, TOP + BOTTOM - HEIGHT)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" height="{HEIGHT}" role="img" {_FONT} fill="{_INK}">',
            f"<title>{escape(plot.title)}</title>",
            f"<desc>{escape(plot.result)}</desc>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            *_frame(plot, x, y),
            *_line("supply", plot.supply, x, y),
            *_line("demand", plot.demand, x, y),
            *_cross(plot, x, y),
            "</svg>\n",
        ]
    )


def _axis(values: Sequence[int], start: int, length: int) -> _Axis:
    """Return an axis whose ends are round numbers around the values."""
    low, high = (min(values), max(values)) if values else (0, 1)
    step = _round_step(max(1, high - low))
    low = low // step * step
    high = -(-high // step) * step
    return _Axis(low, max(high, low + step), step, start, length)


def _round_step(span: int) -> int:
    """Return 1, 2 or 5 times a power of ten, so that a span has at most `TICKS` of it."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power * TICKS >= span:
                return factor * power
        power *= 10


def _frame(plot: Plot, x: _Axis, y: _Axis) -> Iterator[str]:
    """Give title, result, grid, numbers and names of the axes."""
    yield _text(LEFT, 26, plot.title, size=16, more='font-weight="bold"')
    yield _text(LEFT, 48, plot.result, size=13)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for value in x.ticks():
        at = _pixels(x.at(value))
        yield _stroke(f"M{at} {TOP}V{bottom}", _FAINT, 1)
        yield _text(at, bottom + 18, to_text(value), anchor="middle")
    for value in y.ticks():
        at = _pixels(y.at(value))
        yield _stroke(f"M{LEFT} {at}H{right}", _FAINT, 1)
        yield _text(LEFT - 8, at, to_text(value), anchor="end", more='dominant-baseline="middle"')
    yield _stroke(f"M{LEFT} {TOP}V{bottom}H{right}", _INK, 1)
    yield _text((LEFT + right) // 2, HEIGHT - 14, plot.quantity_label, anchor="middle", size=13)
    turned = f'transform="rotate(-90 18 {(TOP + bottom) // 2})"'
    yield _text(18, (TOP + bottom) // 2, plot.price_label, anchor="middle", size=13, more=turned)


_COLOURS = {"supply": _SUPPLY, "demand": _DEMAND}
_DASHES = {"supply": "", "demand": ' stroke-dasharray="7 3"'}
_LEGEND_AT = {"supply": WIDTH - RIGHT - 190, "demand": WIDTH - RIGHT - 90}


def _line(name: str, points: Sequence[Point], x: _Axis, y: _Axis) -> Iterator[str]:
    """Give a curve and its entry in the legend; demand is dashed, not only of another colour."""
    colour, dashes, at = _COLOURS[name], _DASHES[name], _LEGEND_AT[name]
    places = [place for place, _ in groupby((x.at(point[0]), y.at(point[1])) for point in points)]
    if places:
        path = "L".join(f"{_pixels(across)} {_pixels(up)}" for across, up in places)
        yield _stroke(f"M{path}", colour, 2, dashes)
    yield _stroke(f"M{at} 22H{at + 28}", colour, 2, dashes)
    yield _text(at + 34, 26, name, size=13)


def _cross(plot: Plot, x: _Axis, y: _Axis) -> Iterator[str]:
    """Give the cross with lines to both axes, and what it reads there."""
    if plot.cross is None:
        return
    quantity, price = plot.cross
    across, up = _pixels(x.at(quantity)), _pixels(y.at(price))
    yield _text(LEFT + 6, _pixels(y.at(price) - 6 * TENTHS), to_text(price), more=_HALO)
    beside = _pixels(x.at(quantity) + 6 * TENTHS)
    yield _text(beside, HEIGHT - BOTTOM - 8, to_text(quantity), more=_HALO)
    yield _stroke(f"M{LEFT} {up}H{across}V{HEIGHT - BOTTOM}", _INK, 1, ' stroke-dasharray="2 3"')
    yield f'<circle cx="{across}" cy="{up}" r="5" fill="#ffffff" stroke="{_INK}" stroke-width="2"/>'


def _stroke(path: str, colour: str, width: int, more: str = "") -> str:
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{more}/>'


def _text(
    x: int | str, y: int | str, text: str, *, anchor: str = "start", size: int = 12, more: str = ""
) -> str:
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" {more}>'
        f"{escape(text)}</text>"
    )


def _pixels(tenths: int) -> str:
    whole, tenth = divmod(tenths, TENTHS)
    return f"{whole}.{tenth}" if tenth else str(whole)

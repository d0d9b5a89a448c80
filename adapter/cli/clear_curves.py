"""`p2ptrade clear-curves`: pay-as-clear over offer curves."""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from itertools import chain
from typing import Annotated, Any, NoReturn

import typer

from adapter.cli.book_files import RowError, micro, read_file, read_list
from adapter.cli.output import refuse, say_json
from adapter.cli.tables import Tables
from adapter.cli.terminal import accept_any_text
from adapter.domain.curves import CurvePoint, OfferCurve, faults
from adapter.domain.quantities import MICRO, to_decimal, to_text
from adapter.settlement.curve_clearing import ClearedCurves, clear_curves, micro_half_even

app = typer.Typer(add_completion=False, rich_markup_mode=None)

CURVES_BY_ARRAYS = 50
"""Fewer are cleared as fractions before NumPy is loaded."""

_WHY = {
    "P2P_CURVE_RANGE": "the range {min} to {max} kW is empty",
    "P2P_CURVE_ORDER": "price or power falls at point {i}",
    "P2P_CURVE_ENDS": "the curve spans {first} to {last} kW, its range is {min} to {max}",
    "P2P_CURVE_BOUNDS": "{power} kW at point {i} is outside {min} to {max}",
}


@app.command("clear-curves")
def clear_curves_command(
    curves: Annotated[
        str,
        typer.Argument(help="JSON list of id, currency, minExport, maxExport, curve; - for stdin."),
    ],
    plot: Annotated[
        str | None, typer.Option(metavar="FILE.svg", help="Draw supply and demand.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Clear offer curves: one price, the power of every prosumer."""
    accept_any_text()
    offered = _read(curves)
    found = _clear(offered)
    if plot is not None:
        _plot(plot, offered, found)
    if as_json:
        say_json(document(found))
    else:
        _show(offered, found)


def _clear(curves: Mapping[str, OfferCurve]) -> ClearedCurves:
    if len(curves) < CURVES_BY_ARRAYS:
        return clear_curves(curves)
    from adapter.settlement.curve_kernel import clear_many_curves

    try:
        return clear_many_curves(curves)
    except ValueError as error:
        refuse(f"P2P_CURVE_BOUNDS: {error}")


def document(found: ClearedCurves) -> dict[str, Any]:
    """Return cleared curves as the command prints them. Source: interfaces, section 2.5."""
    price = found.price_micro
    return {
        "price": None if price is None else to_text(price),
        "price_exact": None if found.price is None else str(found.price),
        "volume_kw": to_text(found.volume_micro_kw),
        "cleared_power_kw": {key: to_text(kw) for key, kw in found.power_micro_kw.items()},
    }


def _read(file: str) -> dict[str, OfferCurve]:
    """Return the curves of a file by id; end the command at the first that cannot be cleared."""
    found: dict[str, OfferCurve] = {}
    currency: str | None = None
    for number, item in enumerate(read_list(read_file(file)), start=1):
        key, curve = _curve(item, number)
        if key in found:
            refuse(f"curve {key!r:.82}: the id is not unique")
        currency = currency or curve.currency
        if curve.currency != currency:
            refuse(f"curve {key!r:.82}: P2P_CURRENCY_MISMATCH: {curve.currency}, others {currency}")
        for fault in faults(curve):
            refuse(f"curve {key!r:.82}: {fault.code}: {_WHY[fault.code].format(**fault.details)}")
        found[key] = curve
    return found


def _curve(item: Any, number: int) -> tuple[str, OfferCurve]:
    key = item.get("id") if isinstance(item, dict) else None
    if not isinstance(key, str) or not key:
        refuse(f"curve {number}: SCH_REQUIRED_FIELD_MISSING: an object with an id is expected")
    try:
        currency, points = item.get("currency"), item.get("curve")
        if not isinstance(currency, str) or not currency:
            _wrong("currency is not a text")
        if not isinstance(points, list) or not points:
            _wrong("curve is not a list of a point or more")
        low, high = (_number(item, name) for name in ("minExport", "maxExport"))
        return key, OfferCurve(currency, low, high, tuple(map(_point, points)))
    except RowError as error:
        refuse(f"curve {key!r:.82}: SCH_ATTRIBUTE_PACK_INVALID: {error}")


def _wrong(why: str) -> NoReturn:
    raise RowError(why)


def _point(point: Any) -> CurvePoint:
    if not isinstance(point, dict):
        _wrong("a point is not an object with price and powerKW")
    price = _number(point, "price")
    if price < 0:
        _wrong(f"price {price} is negative")
    return CurvePoint(price, _number(point, "powerKW"))


def _number(item: Mapping[str, Any], name: str) -> Decimal:
    if name not in item:
        _wrong(f"{name} is missing")
    return to_decimal(micro(item[name], name))


POINTS_DRAWN = 500
"""Prices at which a drawing is exact; between them it is straight."""


def _plot(file: str, curves: Mapping[str, OfferCurve], found: ClearedCurves) -> None:
    from adapter.cli.step_plot import Plot, write_plot

    offered = list(curves.values())
    prices = _prices(offered)
    supply = [
        (_sum(offered, price, 1, side), micro_half_even(price))
        for price in prices
        for side in _SIDES
    ]
    demand = [
        (_sum(offered, price, -1, side), micro_half_even(price))
        for price in reversed(prices)
        for side in reversed(_SIDES)
    ]
    cross = None if found.price is None else (found.volume_micro_kw, micro_half_even(found.price))
    plot = Plot(
        title="Cleared offer curves",
        quantity_label="power in kW",
        price_label="price per kWh",
        supply=supply,
        demand=demand,
        cross=cross,
        result=_result(found),
    )
    write_plot(file, plot)


_SIDES = (OfferCurve.below, OfferCurve.above)


def _prices(curves: list[OfferCurve]) -> list[Fraction]:
    """Return the prices at which the sums bend, or evenly chosen ones of very many."""
    bends = {Fraction(point.price) for curve in curves for point in curve.points}
    bends.update(chain.from_iterable(map(_turns, curves)))
    found = sorted(bends)
    return found[:: len(found) // POINTS_DRAWN + 1]


def _turns(curve: OfferCurve) -> list[Fraction]:
    """Return the prices at which storage turns from taking to giving."""
    pairs = zip(curve.points, curve.points[1:], strict=False)
    return [
        Fraction(left.price)
        + Fraction(right.price - left.price)
        * Fraction(-left.power_kw)
        / Fraction(right.power_kw - left.power_kw)
        for left, right in pairs
        if left.power_kw < 0 < right.power_kw
    ]


def _sum(curves: list[OfferCurve], price: Fraction, sign: int, at: Any) -> int:
    """Return what all give, or take with -1, in 10^-6 kW, as exactly as a drawing needs it."""
    return int(sum(max(Fraction(), sign * at(curve, price)) for curve in curves) * MICRO)


def _result(found: ClearedCurves) -> str:
    if found.price is None or found.price_micro is None:
        return "nothing trades"
    exact = "" if found.price * MICRO == found.price_micro else f" (exactly {found.price})"
    volume = to_text(found.volume_micro_kw)
    return f"price {to_text(found.price_micro)} per kWh{exact}, volume {volume} kW"


def _show(curves: Mapping[str, OfferCurve], found: ClearedCurves) -> None:
    page = Tables()
    page.line(_result(found))
    rows = (
        (
            key,
            curve.side.value.lower(),
            f"{curve.min_export_kw} to {curve.max_export_kw}",
            to_text(found.power_micro_kw[key]),
        )
        for key, curve in curves.items()
    )
    page.table("Cleared power, + export", ("prosumer", "side", ">offered kW", ">cleared kW"), rows)

"""`p2ptrade clear`: one order book, cleared."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from adapter.cli.book_files import RowError, micro, read_orders, refuse_row
from adapter.cli.output import misuse, refuse, say_json
from adapter.cli.tables import Tables
from adapter.cli.terminal import accept_any_text
from adapter.domain.errors import QuantityError
from adapter.domain.quantities import to_text
from adapter.settlement.clearing import Rule
from adapter.settlement.clearing_orders import ClearedOrders, Order, OrderError, clear_orders

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def clear(
    orders: Annotated[
        str,
        typer.Argument(
            help="CSV or JSON with id, side, quantity_kwh, price; - for stdin. Row order is time."
        ),
    ],
    rule: Annotated[Rule, typer.Option(help="What prices the trades.")] = Rule.UNIFORM,
    tick: Annotated[str, typer.Option(help="Step of prices.")] = "0.000001",
    plot: Annotated[
        str | None, typer.Option(metavar="FILE.svg", help="Draw supply and demand.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Clear one order book: price, volume, who trades with whom."""
    accept_any_text()
    tick_micro = _tick(tick)
    book = read_orders(orders)
    try:
        found = clear_orders(book, tick_micro=tick_micro, rule=rule)
    except OrderError as error:
        refuse_row(error.place, error.why)
    except QuantityError as error:
        refuse(error.message)
    if plot is not None:
        _plot(plot, book, found)
    if as_json:
        say_json(document(book, found))
    else:
        _show(book, found)


def _tick(text: str) -> int:
    try:
        tick = micro(text, "--tick")
    except RowError as error:
        misuse(str(error))
    if tick <= 0:
        misuse(f"--tick: {text[:40]} is not positive")
    return tick


def document(orders: Sequence[Order], found: ClearedOrders) -> dict[str, Any]:
    """Return a cleared book as the command prints it. Source: interfaces, section 2.4."""
    trades = [
        {
            "buy": trade.buy_id,
            "sell": trade.sell_id,
            "quantity_kwh": to_text(trade.quantity_micro_kwh),
            "price": to_text(trade.price_micro),
        }
        for trade in found.trades
    ]
    fills = zip(orders, found.fills_micro_kwh, strict=True)
    return {
        "rule": found.rule.value,
        "price": None if found.price_micro is None else to_text(found.price_micro),
        "volume_kwh": to_text(found.volume_micro_kwh),
        "trades": trades,
        "fills": {order.order_id: to_text(fill) for order, fill in fills},
    }


def _plot(file: str, orders: Sequence[Order], found: ClearedOrders) -> None:
    from adapter.cli.step_plot import Plot, write_plot

    plot = Plot(
        title=f"Cleared book ({found.rule.value})",
        quantity_label="quantity in kWh",
        price_label="price per kWh",
        supply=stairs([order for order in orders if order.side == "sell"], 1),
        demand=stairs([order for order in orders if order.side == "buy"], -1),
        cross=_cross(found),
        result=_result(found),
    )
    write_plot(file, plot)


def stairs(orders: Sequence[Order], direction: int) -> list[tuple[int, int]]:
    """Return quantity and price along a side: cheapest first, or dearest first with -1."""
    line: list[tuple[int, int]] = []
    reached = 0
    for order in sorted(orders, key=lambda order: direction * order.price_micro):
        line.append((reached, order.price_micro))
        reached += order.quantity_micro_kwh
        line.append((reached, order.price_micro))
    return line


def _cross(found: ClearedOrders) -> tuple[int, int] | None:
    """Return volume and price; without one price, that of the last trade."""
    if not found.trades:
        return None
    price = found.trades[-1].price_micro if found.price_micro is None else found.price_micro
    return found.volume_micro_kwh, price


def _result(found: ClearedOrders) -> str:
    if not found.trades:
        return "nothing trades"
    price = "each trade at its own price"
    if found.price_micro is not None:
        price = f"price {to_text(found.price_micro)} per kWh"
    return f"{price}, volume {to_text(found.volume_micro_kwh)} kWh"


def _show(orders: Sequence[Order], found: ClearedOrders) -> None:
    page = Tables()
    page.line(f"rule {found.rule.value}: {_result(found)}")
    if found.trades:
        trades = (
            (
                trade.sell_id,
                trade.buy_id,
                to_text(trade.quantity_micro_kwh),
                to_text(trade.price_micro),
            )
            for trade in found.trades
        )
        page.table("Trades", ("seller's order", "buyer's order", ">kWh", ">price"), trades)
    fills = (
        (
            order.order_id,
            order.side,
            to_text(order.price_micro),
            to_text(order.quantity_micro_kwh),
            to_text(fill),
        )
        for order, fill in zip(orders, found.fills_micro_kwh, strict=True)
    )
    page.table("Orders", ("order", "side", ">limit", ">kWh", ">filled"), fills)

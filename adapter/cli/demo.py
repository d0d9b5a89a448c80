"""`p2ptrade demo`: nodes on this machine and one whole trade, or a network that stays up."""

import json
import shlex
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from adapter.cli.output import complain, say_json
from adapter.demo.folder import REGULATOR, DemoFolder
from adapter.demo.modes import PLAYS, Mode
from adapter.demo.network import (
    SERVE_PORT,
    Ended,
    Silence,
    demo_folder,
    new_ports,
    ports_from,
    run_trade,
    running_network,
    signals_raise,
)
from adapter.demo.processes import DemoError, Processes
from adapter.demo.report import Report
from adapter.demo.script import Purchase
from adapter.demo.timeline import Timeline

WIDTH = 100
"""Columns of the timeline where there is no terminal."""
WATCH_S = 0.5

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def demo(
    mode: Annotated[Mode, typer.Option(help="How the price is found.")] = Mode.FIXED,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the folder and name it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Keep the network up until Ctrl-C.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=1_024, max=65_000, help="Its first port; the others follow.")
    ] = SERVE_PORT,
) -> None:
    """Run one whole trade between nodes on this machine and leave nothing running."""
    try:
        with signals_raise():
            if serve:
                _serve(ports_from(port, mode), mode, keep=keep)
            else:
                _run(mode, keep=keep, as_json=as_json)
    except DemoError as error:
        for line in str(error).splitlines():
            complain(line)
        raise typer.Exit(1) from None
    except Ended as end:
        _ended(end)


def _run(mode: Mode, *, keep: bool, as_json: bool) -> None:
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    timeline = Timeline(console)
    progress = Console(stderr=True)
    begun = time.monotonic()
    with demo_folder(keep=keep) as path:
        with (
            progress.status(f"starting {PLAYS[mode].told} nodes") as status,
            running_network(path, new_ports(mode)) as (folder, _),
        ):
            if not as_json:
                status.stop()
                _introduce(timeline, folder, mode)
            else:
                status.update("trading")
            report = run_trade(folder, Silence() if as_json else timeline, mode)
            _show(timeline, report, as_json=as_json)
            status.update("stopping")
        if not as_json:
            timeline.note(f"all nodes stopped, {time.monotonic() - begun:.1f} s in all")
        if keep:
            complain(f"kept: {path}")


def _introduce(timeline: Timeline, folder: DemoFolder, mode: Mode) -> None:
    told = PLAYS[mode].told.capitalize()
    timeline.heading(f"{told} nodes, each a process with its own key and database")
    for node in folder.nodes.values():
        timeline.step(node.subscriber_id, node.base_url)


def _show(timeline: Timeline, report: Report, *, as_json: bool) -> None:
    if as_json:
        say_json(report.to_wire())
    else:
        timeline.report(report)


def _serve(ports: Mapping[str, int], mode: Mode, *, keep: bool) -> NoReturn:
    timeline = Timeline(Console(highlight=False))
    with (
        demo_folder(keep=keep) as path,
        running_network(path, ports) as (folder, processes),
    ):
        _introduce(timeline, folder, mode)
        with PLAYS[mode].script(folder, timeline.step) as script:
            timeline.heading("Set-up at the grid operator, who hosts the contract layer")
            script.set_up()
            window = script.window()
            timeline.heading("What can be traded")
            script.offer(window)
            purchases = script.purchases(window)
        timeline.heading("Tokens")
        for who, token in _tokens(folder):
            timeline.step(who, token)
        timeline.heading("Buy, and see what happened")
        for line in _commands(folder, purchases):
            timeline.note(line)
        timeline.heading(f"Up until Ctrl-C; folder {path}")
        _watch(processes)


def _tokens(folder: DemoFolder) -> list[tuple[str, str]]:
    """Return who may use which token: each node's application, and the actors of the ledger."""
    applications = [(node.name, node.application_token) for node in folder.nodes.values()]
    return applications + list(folder.nodes["grid_operator"].operator_tokens.items())


def _commands(folder: DemoFolder, purchases: Sequence[Purchase]) -> list[str]:
    """Return lines for a shell."""
    grid = folder.nodes["grid_operator"]
    lines = []
    for purchase in purchases:
        app = folder.nodes[purchase.node]
        header = shlex.quote(f"Authorization: Bearer {app.application_token}")
        body = f"-d {shlex.quote(json.dumps(purchase.body))} -H 'Content-Type: application/json'"
        lines += [
            f"curl -s -H {header} {body} {app.base_url}/trades",
            f"curl -s -H {header} {app.base_url}/trades",
        ]
    contracts = f"p2ptrade contracts events --node {grid.base_url}"
    token = grid.operator_tokens[REGULATOR]
    return [*lines, f"{contracts} --token {token}", f"{folder.nodes['bap'].base_url}/docs"]


def _watch(processes: Processes) -> NoReturn:
    """Wait until a signal comes or a node ends."""
    pause = threading.Event()
    while True:
        pause.wait(WATCH_S)
        processes.check()


def _ended(end: Ended) -> NoReturn:
    complain(f"{end}: all nodes are stopped")
    raise typer.Exit(128 + end.number)

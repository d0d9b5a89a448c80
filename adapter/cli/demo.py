"""`p2ptrade demo`: four nodes on this machine and one whole trade, or a network that stays up."""

import sys
import threading
from enum import StrEnum
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from adapter.cli.output import complain, say_json
from adapter.demo.folder import DemoFolder
from adapter.demo.network import (
    SERVE_PORTS,
    Ended,
    Silence,
    demo_folder,
    new_ports,
    run_trade,
    running_network,
    signals_raise,
)
from adapter.demo.processes import DemoError, Processes
from adapter.demo.report import Report
from adapter.demo.script import Script
from adapter.demo.timeline import Timeline

WIDTH = 100
"""Columns of the timeline where there is no terminal."""
WATCH_S = 0.5

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Mode(StrEnum):
    """How the price is found."""

    FIXED = "fixed"


@app.command()
def demo(
    mode: Annotated[Mode, typer.Option(help="How the price is found.")] = Mode.FIXED,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the folder and name it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Keep the network up on ports 8101 to 8105.")
    ] = False,
) -> None:
    """Run one whole trade between four nodes on this machine and leave nothing running."""
    del mode  # one so far
    try:
        with signals_raise():
            if serve:
                _serve(keep=keep)
            else:
                _run(keep=keep, as_json=as_json)
    except DemoError as error:
        for line in str(error).splitlines():
            complain(line)
        raise typer.Exit(1) from None
    except Ended as end:
        _ended(end)


def _run(*, keep: bool, as_json: bool) -> None:
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    timeline = Timeline(console)
    progress = Console(stderr=True)
    with demo_folder(keep=keep) as path:
        with (
            progress.status("starting four nodes") as status,
            running_network(path, new_ports()) as (folder, _),
        ):
            if not as_json:
                status.stop()
                _introduce(timeline, folder)
            else:
                status.update("trading")
            report = run_trade(folder, Silence() if as_json else timeline)
            _show(timeline, report, as_json=as_json)
            status.update("stopping")
        if keep:
            complain(f"kept: {path}")


def _introduce(timeline: Timeline, folder: DemoFolder) -> None:
    timeline.heading("Four nodes, each a process with its own key and database")
    for node in folder.nodes.values():
        timeline.step(node.subscriber_id, node.base_url)


def _show(timeline: Timeline, report: Report, *, as_json: bool) -> None:
    if as_json:
        say_json(report.to_wire())
    else:
        timeline.report(report)


def _serve(*, keep: bool) -> NoReturn:
    timeline = Timeline(Console(highlight=False))
    with (
        demo_folder(keep=keep) as path,
        running_network(path, SERVE_PORTS) as (folder, processes),
    ):
        _introduce(timeline, folder)
        with Script(folder, timeline.step) as script:
            timeline.heading("Set-up at the grid operator, who hosts the contract layer")
            script.set_up()
            script.offer(script.window())
        timeline.heading("Try it")
        for line in _hints(folder):
            timeline.note(line)
        timeline.note(f"folder {path}; Ctrl-C ends everything")
        _watch(processes)


def _hints(folder: DemoFolder) -> list[str]:
    lines = [f"{node.base_url}/docs" for node in folder.nodes.values()]
    for name, node in folder.nodes.items():
        lines.append(f"token of the application of {name}: {node.application_token}")
    for actor, token in folder.nodes["grid_operator"].operator_tokens.items():
        lines.append(f"token of {actor} at grid_operator: {token}")
    return lines


def _watch(processes: Processes) -> NoReturn:
    """Wait until a signal comes or a node ends."""
    pause = threading.Event()
    while True:
        pause.wait(WATCH_S)
        processes.check()


def _ended(end: Ended) -> NoReturn:
    complain(f"{end}: all nodes are stopped")
    raise typer.Exit(128 + end.number)

"""A demo network and its run: folder, processes, script, report; and the clean end of all of it."""

import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from types import FrameType
from typing import Protocol

from adapter.demo.folder import DemoFolder, write_folder
from adapter.demo.modes import PLAYS, Mode
from adapter.demo.processes import DemoError, Processes, failure, free_ports
from adapter.demo.report import Report, make_report

SERVE_PORT = 8101
"""First port of a network that stays up; the others follow."""


class Teller(Protocol):
    """Who is told how it goes."""

    def heading(self, text: str) -> None:
        """A new part begins."""
        ...

    def step(self, who: str, what: str) -> None:
        """Somebody did something."""
        ...

    def note(self, text: str) -> None:
        """Something worth knowing."""
        ...


class Silence:
    """Tells nobody."""

    def heading(self, text: str) -> None:
        """Say nothing."""

    def step(self, who: str, what: str) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""


class Ended(BaseException):
    """A signal asked for the end; carries its number."""

    def __init__(self, number: int) -> None:
        """Keep the number."""
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def signals_raise() -> Iterator[None]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into Ended, and pass over the others."""

    def end(number: int, _frame: FrameType | None) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)  # nothing may disturb the clean end
        raise Ended(number)

    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in wanted}
    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def demo_folder(*, keep: bool) -> Iterator[Path]:
    """Give a new folder; it stays when wanted, and when something failed, for its logs."""
    path = Path(tempfile.mkdtemp(prefix="p2ptrade-demo-"))
    try:
        yield path
    except DemoError:
        raise
    except BaseException:
        if not keep:
            rmtree(path, ignore_errors=True)
        raise
    if not keep:
        rmtree(path, ignore_errors=True)


@contextmanager
def running_network(path: Path, ports: Mapping[str, int]) -> Iterator[tuple[DemoFolder, Processes]]:
    """Write the folder, start its nodes, wait until they are ready; end them afterwards.

    Raises:
        DemoError: one does not start.
    """
    folder = write_folder(path, ports)
    with Processes() as processes:
        for node in folder.nodes.values():
            processes.start(node)
        processes.wait_until_ready()
        yield folder, processes


def run_trade(folder: DemoFolder, teller: Teller, mode: Mode = Mode.FIXED) -> Report:
    """Run the whole script of a mode against its running network.

    Raises:
        DemoError: a step failed, or the ledger does not verify.
    """
    with PLAYS[mode].script(folder, teller.step) as script:
        teller.heading("Set-up at the grid operator, who hosts the contract layer")
        script.set_up()
        window = script.window()
        before = script.balances()
        teller.heading(script.headline)
        script.offer(window)
        transaction_id = script.buy(window)
        teller.heading("Delivery and settlement")
        script.pass_window(window)
        script.submit_readings(window)
        script.wait_until_completed(transaction_id)
        teller.step("ledger", "energy and cash have moved together, on_status says COMPLETED")
        report = make_report(script, folder, transaction_id, before)
    if not report.ledger_verified:
        why = "the ledger does not verify"
        raise failure(why, folder.nodes["grid_operator"])
    return report


def ports_from(first: int, mode: Mode) -> dict[str, int]:
    """Return one port for each node of a mode, in order."""
    names = PLAYS[mode].nodes
    return dict(zip(names, range(first, first + len(names)), strict=True))


def new_ports(mode: Mode = Mode.FIXED) -> dict[str, int]:
    """Return a free port for each node of a mode."""
    names = PLAYS[mode].nodes
    return dict(zip(names, free_ports(len(names)), strict=True))

"""The test build: three nodes in one process that dies at a named point, and the one after it.

Started once; each line on stdin is a job, done in a fork of its own, so that nothing of one job
is left for the next. `play` sets a network up and runs the story of one trade; `resume` opens the
databases again, as the nodes do after a power cut, and goes on with the story; `work` is a second
worker of the seller's platform that sends what is due.
"""

import asyncio
import base64
import hashlib
import json
import os
import sqlite3
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from adapter.bootstrap import Ports, build_node
from adapter.domain.instants import EPOCH_MS, format_instant, parse_instant
from adapter.domain.parties import Side
from adapter.domain.trade import TradeState
from adapter.protocol.signature import Signer
from adapter.service.waiters import is_decided
from adapter.settings import load_settings
from adapter.settlement import parse_command, reading_bytes
from adapter.store.audit import audit_database
from tests.fakes import network as fake
from tests.fakes.crash_points import Points, Victim, make_test_build
from tests.fakes.network import (
    BAP,
    BPP,
    BUYER_METER,
    GRID,
    HOSTS,
    ROLES,
    SELLER_METER,
    Network,
    offer,
    open_network,
    plan,
)
from tests.fakes.time import CountingIds, FixedClock

NAMES = (BAP, BPP, GRID)
START, END = "2026-03-02T12:15:00Z", "2026-03-02T13:15:00Z"
"""Four hours ahead: a node that was away for long is back before the delivery."""
ROUNDS = 60
"""Seconds of the story in which a trade must be confirmed, or fail."""
SETTLED_S = 1_800
"""Story time in which what was agreed is settled, and what was not is released."""
OVER = (TradeState.COMPLETED, TradeState.TERMINATED)
VARYING = {"took_us", "claimed_by"}
"""Columns that differ from run to run."""


@dataclass(frozen=True)
class Job:
    """One line of stdin."""

    phase: str
    folder: Path
    databases: Mapping[str, str] | None
    """URL by subscriber id; None: SQLite files in the folder."""
    victim: Victim | None
    gap_s: int = 0
    """How long the nodes were away."""
    halves: str = ""
    """Role of a node that commits in the middle of its units: what the checks must find."""

    @classmethod
    def parse(cls, line: str) -> "Job":
        given = json.loads(line)
        victim = Victim(*given["victim"]) if given["victim"] else None
        folder = Path(given["folder"])
        rest = given["gap_s"], given["halves"]
        return cls(given["phase"], folder, given["databases"], victim, *rest)

    def database(self, name: str) -> Path | str:
        """Return file or URL of a node's database."""
        if self.databases is not None:
            return self.databases[name]
        return self.folder / f"{ROLES[name]}.db"


# The story


async def tell(network: Network, points: Points) -> None:
    """Go on with the story from wherever it is, to its end."""
    if not await network.bpp.catalogue.offers():
        await network.bpp.catalogue.publish(offer())
    trades = await network.bap.parts.store.read(lambda uow: uow.trades(Side.BAP, None, 9))
    if not trades:
        await network.bap.originator.start_trade(plan(start=START, end=END))
    for _ in range(ROUNDS):
        await network.deliver()
        if is_decided(await network.trade(Side.BAP)):
            break
        await network.run(1)
    confirmed = await network.trade(Side.BAP)
    points.note("decided", state=confirmed.state, caps=await caps_of(network))
    await deliver_energy(network)
    for _ in range(ROUNDS):
        await network.tick()
        if (await network.trade(Side.BAP)).state in OVER:
            break
        network.clock.advance(SETTLED_S // ROUNDS)
    caps, stock = await caps_of(network), await network.stock()
    points.note("ended", state=(await network.trade(Side.BAP)).state, caps=caps, stock=stock)


async def caps_of(network: Network) -> dict[str, Any]:
    """Return what both meters have sold or bought: total and reserved, in kWh."""
    assert network.grid.contracts is not None
    found = {}
    for meter, side in ((SELLER_METER, "SELL"), (BUYER_METER, "BUY")):
        args = {"meter_id": meter}
        answer = await network.grid.contracts.read("registry", "get_trade_caps", args, actor="rec")
        found[side] = [answer["result"][side][name] for name in ("total", "reserved")]
    return found


async def deliver_energy(network: Network) -> None:
    """Let the window pass and hand the readings in; each under an id of its own, so once."""
    passed_ms = parse_instant(END) + 300_000
    if network.clock.now_ms() < passed_ms:
        network.clock.move_to(format_instant(passed_ms))
    for start in range(parse_instant(START), parse_instant(END), EPOCH_MS):
        for meter, made, used in ((SELLER_METER, "2.5", "0"), (BUYER_METER, "0", "2.5")):
            data: dict[str, Any] = {
                "meter_id": meter,
                "start": start,
                "end": start + EPOCH_MS,
                "generated": made,
                "consumed": used,
            }
            signature = network.meter_keys[meter].sign_bytes(reading_bytes(data))
            data["signature"] = base64.b64encode(signature).decode()
            command_id = f"reading-{meter}-{start}"
            args = {"meter_data": data}
            command = parse_command(command_id, "oracle", "submit_reading", args)
            assert network.grid.contracts is not None
            await network.grid.contracts.call(command, actor="headend")


async def reopened(job: Job) -> Network:
    """Return the network of a folder as new processes open it."""
    clock, wire = FixedClock(), fake.Wire()
    clock.advance_ms(died_ms(job) + job.gap_s * 1_000 - clock.now_ms())
    files = {name: job.folder / f"{ROLES[name]}.yaml" for name in NAMES}
    nodes = {}
    for number, name in enumerate(NAMES, 101):  # no id is given twice
        ports = Ports(clock=clock, ids=CountingIds(number), sender=wire)
        nodes[name] = build_node(load_settings(files[name]), ports)
        wire.nodes[HOSTS[name]] = nodes[name]
    keys = {
        meter: Signer(meter, "m", bytes([40 + i] * 32))
        for i, meter in enumerate((SELLER_METER, BUYER_METER))
    }
    network = Network(nodes[BAP], nodes[BPP], nodes[GRID], clock, wire, keys, files)
    assert network.grid.contracts is not None
    await network.grid.contracts.open(network.grid.genesis)
    return network


def died_ms(job: Job) -> int:
    lines = (job.folder / "log").read_text().splitlines()
    return max(int(json.loads(line)["now_ms"]) for line in lines)


# What is stored


def digest_of(database: Path | str) -> str:
    """Return a digest of every row of a database, but for what differs from run to run."""
    digest = hashlib.sha256()
    for table, columns, rows in tables_of(database):
        kept = [i for i, name in enumerate(columns) if name not in VARYING]
        shown = sorted(repr([row[i] for i in kept]) for row in rows)
        digest.update(f"{table} {shown}".encode())
    return digest.hexdigest()


Table = tuple[str, list[str], list[Any]]
"""Name, columns and rows."""


def tables_of(database: Path | str, wanted: str | None = None) -> list[Table]:
    """Return all tables, or one, read with the database's own library."""
    if isinstance(database, Path):
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return _read(connection.execute, _SQLITE_TABLES, wanted)
    with psycopg.connect(database) as session:
        return _read(lambda sql: session.execute(sql.encode()), _POSTGRES_TABLES, wanted)


def _read(execute: Callable[[str], Any], listing: str, wanted: str | None) -> list[Table]:
    names = [wanted] if wanted else [name for (name,) in execute(listing).fetchall()]
    found = []
    for name in names:
        cursor = execute(f"SELECT * FROM {name}")
        rows = cursor.fetchall()
        found.append((name, [column[0] for column in cursor.description], rows))
    return found


_SQLITE_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
_POSTGRES_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1"


# Jobs


async def play(job: Job) -> None:
    points = Points(job.folder / "log", job.victim, halves=job.halves)
    make_test_build(points)
    network = await open_network(job.folder, databases=job.databases)
    points.now_ms = network.clock.now_ms
    by_role = {ROLES[name]: job.database(name) for name in NAMES}
    states: dict[str, list[str]] = {}
    if job.victim is None:
        states = {role: [digest_of(database)] for role, database in by_role.items()}
        points.after_commit = lambda role: states[role].append(digest_of(by_role[role]))
    points.armed = True
    await tell(network, points)
    points.armed = False
    await network.close()
    points.note("undisturbed", states=states, hits=dict(points.hits))


async def resume(job: Job) -> None:
    points = Points(job.folder / "log")
    make_test_build(points)
    network = await reopened(job)
    points.now_ms = network.clock.now_ms
    await tell(network, points)
    await network.close()
    verdict = audit_database(job.database(GRID)).verdict
    assert verdict.ok, verdict


async def work(job: Job) -> None:
    points = Points(job.folder / "log", job.victim, armed=True)
    make_test_build(points)
    network = await reopened(job)
    await network.bpp.outbound.drain_due()


def in_fork(job: Job) -> int:
    """Return how a fork ended that did the job: 0, 1, or minus the signal."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)
    code = 1
    try:
        asyncio.run(PHASES[job.phase](job))
        code = 0
    except BaseException:
        (job.folder / "error").write_text(traceback.format_exc())
    finally:
        os._exit(code)


PHASES = {"play": play, "resume": resume, "work": work}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:  # compiles and imports once, for all forks
        asyncio.run(warm(Path(folder)))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(f"{in_fork(Job.parse(line))}\n")
        sys.stdout.flush()


async def warm(folder: Path) -> None:
    network = await open_network(folder)
    await tell(network, Points(folder / "log"))
    await network.close()


if __name__ == "__main__":
    main()

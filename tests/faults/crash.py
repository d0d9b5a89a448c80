"""Runs of the test build: a node dies at a named point, comes back, and all of it is checked.

`python -m tests.faults.crash --all --late` runs every point of every node on both stores; the
tests run a part of that. What is checked: the databases at the moment of death are those of the
undisturbed run after as many commits; nothing acknowledged is lost; the trade ends as if nothing
had been.
"""

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.fakes.network import BAP, BPP, GRID, ROLES
from tests.fakes.postgres import PostgresServer, running
from tests.faults.crash_child import NAMES, digest_of, tables_of

ROOT = Path(__file__).parents[2]
SOON_S, LATE_S = 7, 1_200
"""How long the nodes are away: within the life of a request; beyond that of any terms."""
KILLED = -9
STORES = ("sqlite", "postgres")
ONCE = ("create_agreement", "accept_agreement", "deliver_energy", "settle_payment")
TRADED = {  # 20.00 - 10 x 0.15 - 10 x 0.025 = 18.25
    "bob|GRID|MAIN": 10_000_000,
    "bob|USD|MAIN": 18_250_000,
    "sun|GRID|MAIN": 0,
    "sun|USD|MAIN": 1_500_000,
    "grid.operator.example|USD|WHEELING": 250_000,
}
ANSWERED = ("discover", "select", "init", "confirm")
_RESET = """
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT quote_ident(sequencename) FROM pg_sequences
                WHERE schemaname = current_schema()
    LOOP EXECUTE 'ALTER SEQUENCE ' || name || ' RESTART'; END LOOP;
END $$
"""
"""Numbers begin at 1 again, as in the undisturbed run."""


@dataclass(frozen=True)
class Case:
    """One death."""

    store: str
    point: str
    hit: int
    gap_s: int = SOON_S
    halves: str = ""
    """Role of a node that commits in the middle of its units, to be found out."""

    def __str__(self) -> str:
        late = " (late)" if self.gap_s == LATE_S else ""
        return f"{self.store} {self.point} #{self.hit}{late}"


@dataclass(frozen=True)
class Undisturbed:
    """What a run without a death went through."""

    states: Mapping[str, Sequence[str]]
    """By role: a digest of the database after each commit."""
    hits: Mapping[str, int]
    """By point: how often it was passed."""


@dataclass(frozen=True)
class Wreck:
    """A run's folder and databases."""

    folder: Path
    databases: Mapping[str, str] | None

    def database(self, name: str) -> Path | str:
        if self.databases is not None:
            return self.databases[name]
        return self.folder / f"{ROLES[name]}.db"

    def table(self, name: str, wanted: str) -> list[dict[str, Any]]:
        """Return the rows of a table of a node, by column."""
        [(_, columns, rows)] = tables_of(self.database(name), wanted)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def log(self, what: str) -> list[dict[str, Any]]:
        lines = (self.folder / "log").read_text().splitlines()
        return [line for line in map(json.loads, lines) if line["what"] == what]


class Lab:
    """The process that does the jobs, and what its runs are compared with."""

    def __init__(self, folder: Path, server: PostgresServer | None) -> None:
        """Start it; without a server there is only SQLite."""
        self._folder = folder
        self._server = server
        self._undisturbed: dict[str, Undisturbed] = {}
        self._runs = 0
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.crash_child"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready"

    def close(self) -> None:
        """End the process, which ends when its stdin does."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        assert self._child.wait(30) == 0
        self._child.stdout.close()

    def undisturbed(self, store: str) -> Undisturbed:
        """Return what the run without a death goes through on a store."""
        if store not in self._undisturbed:
            with self.wreck(store) as wreck:
                self.do(wreck, "play", Case(store, "", 0))
                check_end(wreck)
                [line] = wreck.log("undisturbed")
                self._undisturbed[store] = Undisturbed(line["states"], line["hits"])
        return self._undisturbed[store]

    def run(self, case: Case) -> str:
        """Let a node die and come back, check everything; return how the trade ended.

        Raises:
            AssertionError: a promise is broken.
        """
        undisturbed = self.undisturbed(case.store)
        with self.wreck(case.store) as wreck:
            self.do(wreck, "play", case, expected=KILLED)
            check_death(wreck, undisturbed)
            self.do(wreck, "resume", Case(case.store, "", 0, case.gap_s))
            check_acknowledged(wreck)
            if case.gap_s == SOON_S:
                check_end(wreck)
            else:
                check_late_end(wreck)
            return str(wreck.log("ended")[-1]["state"])

    def do(self, wreck: Wreck, phase: str, case: Case, expected: int = 0) -> None:
        """Let a fork do a job and check how it ends; without a point nobody dies."""
        job = {
            "phase": phase,
            "folder": str(wreck.folder),
            "databases": wreck.databases,
            "victim": [case.point, case.hit] if case.point else None,
            "gap_s": case.gap_s,
            "halves": case.halves,
        }
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(job) + "\n")
        self._child.stdin.flush()
        code = int(self._line())
        error = wreck.folder / "error"
        assert code == expected, error.read_text() if error.exists() else f"{phase} {code}"

    def _line(self) -> str:
        assert self._child.stdout is not None
        return self._child.stdout.readline().strip()

    @contextmanager
    def wreck(self, store: str) -> Iterator[Wreck]:
        """Give a folder and databases for one run."""
        self._runs += 1
        folder = self._folder / f"{self._runs}"
        folder.mkdir()
        with ExitStack() as stack:
            databases = None
            if store == "postgres":
                assert self._server is not None
                databases = {name: stack.enter_context(self._server.lent()) for name in NAMES}
                for url in databases.values():
                    with psycopg.connect(url, autocommit=True) as session:
                        session.execute(_RESET)
            try:
                yield Wreck(folder, databases)
            finally:
                shutil.rmtree(folder)


# Checks


def check_death(wreck: Wreck, undisturbed: Undisturbed) -> None:
    """Check that the databases hold exactly what the commits before the death have made."""
    [died] = wreck.log("died")
    for name, role in ROLES.items():
        expected = undisturbed.states[role][died["commits"][role]]
        assert digest_of(wreck.database(name)) == expected, f"{role} is not as after its commits"


def check_acknowledged(wreck: Wreck) -> None:
    """Check that each acknowledged message is stored once, and each request got its callback.

    One that came back too late for its callback, as for terms that have lapsed, keeps it as a dead
    letter.
    """
    stored = {
        role: Counter((row["message_id"], row["action"]) for row in wreck.table(name, "inbox"))
        for name, role in ROLES.items()
    }
    acknowledged = wreck.log("acknowledged")
    for one in acknowledged:
        count = stored[one["by"]][one["message_id"], one["action"]]
        assert count == 1, f"{one['action']} of {one['sender']} is stored {count} times"
    said = {(one["message_id"], one["action"]) for one in acknowledged}
    for name in NAMES:
        rows = wreck.table(name, "outbox")
        said |= {(row["message_id"], row["action"]) for row in rows if row["state"] == "DEAD"}
    for one in acknowledged:
        if one["action"] in ANSWERED:
            callback = one["message_id"], f"on_{one['action']}"
            assert callback in said, f"no callback to {one['action']} of {one['sender']}"


def check_rest(wreck: Wreck) -> None:
    """Check that nothing waits any more, anywhere."""
    for name in (BAP, BPP, GRID):
        left = [(row["action"], row["state"]) for row in wreck.table(name, "outbox")]
        assert not [one for one in left if one[1] in ("DUE", "CLAIMED")], (name, left)
        assert not [row for row in wreck.table(name, "asked") if row["state"] == "OPEN"], name
    held = [row["id"] for row in wreck.table(GRID, "ledger_accounts") if row["held"]]
    assert not held, held


def calls_of(wreck: Wreck) -> Counter[str]:
    """Return how often each contract function was called."""
    return Counter(
        json.loads(row["body"])["function"] for row in wreck.table(GRID, "ledger_entries")
    )


def posted(wreck: Wreck) -> dict[str, int]:
    found = {row["id"]: row["posted"] for row in wreck.table(GRID, "ledger_accounts")}
    return {name: int(found.get(name, 0)) for name in TRADED}


def check_end(wreck: Wreck) -> None:
    """Check that the trade was done once and whole, on every side."""
    decided = wreck.log("decided")[0]
    if decided["state"] == "CONFIRMED":  # 10 kWh, once
        assert decided["caps"] == {"SELL": ["10", "0"], "BUY": ["10", "0"]}, decided
    ended = wreck.log("ended")[-1]
    assert ended["stock"] == "20", ended
    states = [row["state"] for name in NAMES for row in wreck.table(name, "trade")]
    assert states == ["COMPLETED"] * 3, states
    calls = calls_of(wreck)
    assert {name: calls[name] for name in ONCE} == dict.fromkeys(ONCE, 1), calls
    assert posted(wreck) == TRADED
    unsent = [
        r["state"] for name in NAMES for r in wreck.table(name, "outbox") if r["state"] != "SENT"
    ]
    assert unsent == []
    check_rest(wreck)


def check_late_end(wreck: Wreck) -> None:
    """Check that the trade was done once and whole, or not at all, after everything lapsed."""
    ended = wreck.log("ended")[-1]
    calls = calls_of(wreck)
    is_done = calls["settle_payment"] == 1
    assert (ended["state"] == "COMPLETED") is is_done, (ended, calls)
    assert all(calls[name] <= 1 for name in ONCE), calls
    assert ended["caps"] == {"SELL": ["0", "0"], "BUY": ["0", "0"]}, ended
    if is_done:
        assert posted(wreck) == TRADED
        assert ended["stock"] == "20", ended
    else:
        assert posted(wreck)["bob|USD|MAIN"] == 20_000_000, posted(wreck)
        assert ended["stock"] == "30", ended
    check_rest(wreck)


# By hand


def hits_of(count: int, passes: int = 3) -> Sequence[int]:
    """Return which passes of a point are tried: the middle one, the last, the first."""
    return sorted({*[(count + 1) // 2, count, 1][:passes]})


def all_cases(lab: Lab, store: str, passes: int, *, late: bool) -> list[Case]:
    """Return every point of every node, several passes each, and once with a late return."""
    found = []
    for point, count in sorted(lab.undisturbed(store).hits.items()):
        found += [Case(store, point, hit) for hit in hits_of(count, passes)]
        if late:
            found.append(Case(store, point, (count + 1) // 2, LATE_S))
    return found


@contextmanager
def open_lab(folder: Path, server: PostgresServer | None) -> Iterator[Lab]:
    """Give a lab, and end it."""
    lab = Lab(folder, server)
    try:
        yield lab
    finally:
        lab.close()


def main() -> int:
    """Run cases by hand; print the count by point and what failed; 1 when something has."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.crash", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="every point")
    which.add_argument("--point", default="", help="only points whose name holds this")
    parser.add_argument("--passes", type=int, default=3, choices=(1, 2, 3), help="of each point")
    parser.add_argument("--late", action="store_true", help="and once away for 20 minutes")
    parser.add_argument("--store", choices=STORES, help="only this store")
    parser.add_argument("--list", action="store_true", help="only name the points")
    asked = parser.parse_args()
    failed = []
    counts: Counter[tuple[str, str]] = Counter()
    ends: Counter[str] = Counter()
    stores = [asked.store] if asked.store else STORES
    with tempfile.TemporaryDirectory(prefix="crash-") as folder, ExitStack() as stack:
        server = stack.enter_context(running()) if "postgres" in stores else None
        lab = stack.enter_context(open_lab(Path(folder), server))
        cases = [all_cases(lab, store, asked.passes, late=asked.late) for store in stores]
        for case in itertools.chain(*cases):
            if asked.point not in case.point:
                continue
            if asked.list:
                sys.stdout.write(f"{case}\n")
                continue
            try:
                ends[f"{case.gap_s} s {lab.run(case)}"] += 1
            except AssertionError as error:
                failed.append(case)
                sys.stdout.write(f"FAILED {case}: {error}\n")
            counts[case.point.split(" ", 1)[1], case.store] += 1
    for point in sorted({point for point, _ in counts}):
        runs = " ".join(f"{store} {counts[point, store]}" for store in stores)
        sys.stdout.write(f"{point:40} {runs}\n")
    sys.stdout.write(f"{counts.total()} runs, {len(failed)} failed, ends {dict(ends)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""The naive node as grid operator: plain tables, one transaction for each message.

It does what a confirm is about: the same checks of caps, cash and consent, the same reservations
and balances, a chained journal row, the callback in an outbox, all durable before the answer. In
its favour it trusts the parties that the meters name, keeps one cap of each side, compares nothing
with the init, and computes no formula, quote, state root or proof.

    python -m bench.confirm_naive FOLDER PORT HOMES

FOLDER holds `network.yaml`; cryptography must be importable.
"""

import hashlib
import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

from adapter.domain.quantities import to_micro
from adapter.transport.clock import SystemClock
from bench.naive import Refusal, SqliteTable, application, serve
from bench.nodes import PLENTY, WHEELING

TTL_MS = 900_000
_TABLES = """
CREATE TABLE meter (id TEXT PRIMARY KEY, owner TEXT) WITHOUT ROWID;
CREATE TABLE account (id TEXT PRIMARY KEY, posted INTEGER, held INTEGER,
    CHECK (held BETWEEN 0 AND posted)) WITHOUT ROWID;
CREATE TABLE allowance (owner TEXT PRIMARY KEY, amount INTEGER CHECK (amount >= 0)) WITHOUT ROWID;
CREATE TABLE agreement (id INTEGER PRIMARY KEY, contract TEXT UNIQUE, buyer TEXT, source TEXT,
    target TEXT, energy INTEGER, cash INTEGER, until_ms INTEGER, state TEXT);
CREATE TABLE hold (id INTEGER PRIMARY KEY, agreement INTEGER, account TEXT, amount INTEGER,
    state TEXT);
CREATE INDEX hold_of ON hold (agreement);
CREATE TABLE journal (seq INTEGER PRIMARY KEY, hash TEXT, body TEXT);
CREATE TABLE outbox (id INTEGER PRIMARY KEY, action TEXT, body BLOB);
"""
_MESSAGE = "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?)"


class Ledger(SqliteTable):
    """The naive node's table of messages, with a ledger beside it in the same file."""

    def __init__(self, path: Path, homes: int) -> None:
        """Open a new file, with plenty for everybody."""
        super().__init__(path)
        self._clock = SystemClock()
        run = self._connection
        run.executescript(_TABLES)
        plenty = to_micro(PLENTY)
        for home in range(homes):
            for meter, owner in ((f"meter-roof-{home}", "seller"), (f"meter-home-{home}", "buyer")):
                run.execute("INSERT INTO meter VALUES (?, ?)", (meter, f"{owner}-{home}"))
                run.execute("INSERT INTO account VALUES (?, ?, 0)", (meter, plenty))
            run.execute("INSERT INTO account VALUES (?, ?, 0)", (f"buyer-{home}", plenty))
            run.execute("INSERT INTO allowance VALUES (?, ?)", (f"buyer-{home}", plenty))
        run.execute("INSERT INTO account VALUES ('in use', 0, 0)")

    async def add(self, row: tuple[str, str, str, str, bytes, bytes]) -> None:
        """Keep a message with what it does, durably.

        Raises:
            Refusal: 409, the ledger does not take it.
        """
        body = json.loads(row[4])
        order = body["message"]["order"]
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.execute(_MESSAGE, row)
            act = self._init if row[2] == "init" else self._confirm
            act(order["beckn:orderAttributes"])
            context = {**body["context"], "action": f"on_{row[2]}"}
            answer = json.dumps({"context": context, "message": {"order": order}})
            self._run("INSERT INTO outbox (action, body) VALUES (?, ?)", f"on_{row[2]}", answer)
            self._connection.execute("COMMIT")
        except (Refusal, sqlite3.IntegrityError) as error:
            self._connection.execute("ROLLBACK")
            raise error if isinstance(error, Refusal) else Refusal(409, str(error)) from None

    def active(self) -> int:
        """Return how many agreements are in force."""
        return int(self._run("SELECT count(*) FROM agreement WHERE state = 'ACTIVE'")[0])

    def _init(self, contract: dict[str, Any]) -> None:
        roles = {one["role"]: one["roleInputs"] for one in contract["roles"]}
        source, target = roles["SELLER"]["sourceMeterId"], roles["BUYER"]["targetMeterId"]
        energy = to_micro(str(roles["BUYER"]["contractedQuantity"]))
        price = to_micro(str(roles["SELLER"]["pricePerKWh"])) + to_micro(WHEELING)
        (buyer,) = self._run("SELECT owner FROM meter WHERE id = ?", target)
        made = self._connection.execute(
            "INSERT INTO agreement VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, 'PROPOSED')",
            (
                *(contract["contractId"], buyer, source, target, energy),
                *(-(-energy * price // 10**6), self._clock.now_ms() + TTL_MS),
            ),
        )
        for meter in (source, target):
            self._hold(made.lastrowid or 0, meter, energy)
        self._write({"proposed": contract["contractId"], "energy": str(energy)})

    def _confirm(self, contract: dict[str, Any]) -> None:
        known = self._run(
            "SELECT id, buyer, cash, until_ms, state FROM agreement WHERE contract = ?",
            contract["contractId"],
        )
        if known is None or known[4] != "PROPOSED" or known[3] < self._clock.now_ms():
            raise Refusal(409, "BIZ_INVALID_STATE_TRANSITION")
        number, buyer, cash, *_ = known
        holds = self._connection.execute(
            "SELECT id, account, amount FROM hold WHERE agreement = ?", (number,)
        ).fetchall()
        for hold, account, amount in holds:
            self._run("UPDATE hold SET state = 'POSTED' WHERE id = ?", hold)
            move = "UPDATE account SET posted = posted - ?, held = held - ? WHERE id = ?"
            self._run(move, amount, amount, account)
            self._run("UPDATE account SET posted = posted + ? WHERE id = 'in use'", amount)
        self._run("UPDATE allowance SET amount = amount - ? WHERE owner = ?", cash, buyer)
        self._hold(number, buyer, cash)
        self._run("UPDATE agreement SET state = 'ACTIVE' WHERE id = ?", number)
        self._write({"active": contract["contractId"], "held": str(cash)})

    def _hold(self, agreement: int, account: str, amount: int) -> None:
        self._run("UPDATE account SET held = held + ? WHERE id = ?", amount, account)
        self._run("INSERT INTO hold VALUES (NULL, ?, ?, ?, 'PENDING')", agreement, account, amount)

    def _write(self, what: dict[str, str]) -> None:
        last = self._run("SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1") or (-1, "")
        body = json.dumps({**what, "prev": last[1], "time": self._clock.now_ms()})
        digest = hashlib.sha256(body.encode()).hexdigest()
        self._run("INSERT INTO journal VALUES (?, ?, ?)", last[0] + 1, digest, body)

    def _run(self, sql: str, *values: object) -> Any:
        return self._connection.execute(sql, values).fetchone()


def main() -> None:
    """Serve until killed."""
    folder, port, homes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    serve(application(folder, Ledger(folder / "naive.db", homes)), port)


if __name__ == "__main__":
    main()

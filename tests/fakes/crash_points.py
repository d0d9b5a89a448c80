"""Named points at which a node of the test build dies, by SIGKILL, by its own hand.

The test build is the product with these things put around it: the store's statements, commits and
units of work, the signer, and the wire between nodes. A point is the name of a step and which side
of it, as `commit.before`; each node has its own, as `bpp commit.before`. Nothing of this is in the
product.
"""

import json
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import adapter.bootstrap
from adapter.protocol import strict_json
from adapter.service.ports import Answer, Store, UnitOfWork
from adapter.service.signing import MessageSigner
from adapter.settings import Settings
from adapter.store import postgres_connection, sqlite_connection
from adapter.store.sqlite import SqliteStore
from tests.fakes import network
from tests.fakes.network import HOSTS, ROLES

T = TypeVar("T")

_WRITES = re.compile(
    r"\s*(?:WITH [a-z]+ AS \(\s*)?(INSERT|UPDATE|DELETE)(?: INTO| FROM)? ([a-z_]+)"
)
_ROLE_OF = {host: ROLES[name] for name, host in HOSTS.items() if name in ROLES}


@dataclass(frozen=True)
class Victim:
    """Where a node dies."""

    point: str
    """As `bpp commit.before`."""
    hit: int
    """The how many-th time, from 1."""


@dataclass
class Points:
    """All points of the nodes of one process."""

    log: Path
    """Is appended to, line by line, and outlives the process."""
    victim: Victim | None = None
    armed: bool = False
    halves: str = ""
    """Role of a node that commits before it stores a message, to be found out."""
    hits: Counter[str] = field(default_factory=Counter)
    now_ms: Callable[[], int] = lambda: 0
    after_commit: Callable[[str], None] = lambda role: None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def at(self, role: str, point: str) -> None:
        """Pass a point, or die there."""
        if not self.armed:
            return
        name = f"{role} {point}"
        with self._lock:
            self.hits[name] += 1
            hit = self.hits[name]
        if self.victim == Victim(name, hit):
            commits = {role: self.hits[f"{role} commit.after"] for role in ROLES.values()}
            self.note("died", at=name, hit=hit, commits=commits)
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, role: str, step: str, work: Callable[[], T]) -> T:
        """Do a step between its two points."""
        self.at(role, f"{step}.before")
        result = work()
        self.at(role, f"{step}.after")
        return result

    def note(self, what: str, **facts: Any) -> None:
        """Append a line to the log: one write, so that a kill leaves it whole or away."""
        line = json.dumps({"what": what, "now_ms": self.now_ms(), **facts}) + "\n"
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def committed(self, role: str) -> None:
        """Say that a commit is done."""
        if self.armed:
            self.after_commit(role)


class PointedStore:
    """Implements `service.ports.Store` on another one, with points around its units."""

    def __init__(self, points: Points, role: str, store: Any) -> None:
        self._points, self._role, self._store = points, role, store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, unit: Callable[[UnitOfWork], T], **how: Any) -> T:
        """Run a unit; the points bear the name of the method that it belongs to."""
        step = f"unit {unit.__qualname__.split('.<locals>')[0].rpartition('.')[2]}"
        self._points.at(self._role, f"{step}.before")
        result: T = await self._store.write(unit, **how)
        self._points.at(self._role, f"{step}.after")
        return result

    async def read(self, query: Callable[[UnitOfWork], T]) -> T:
        result: T = await self._store.read(query)
        return result

    async def close(self) -> None:
        await self._store.close()


def _step_of(sql: str) -> str | None:
    """Return the kind of a writing statement: what it does, and to which table."""
    if sql.startswith(("SAVEPOINT step", "RELEASE step")):
        return sql.split()[0].lower()
    found = _WRITES.match(sql)
    return None if found is None else f"{found[1].lower()} {found[2]}"


def _pointed_connection(points: Points, role: str, connection: Any) -> None:
    """Put points around the writing statements and the commits of a connection."""
    execute, executemany = connection.execute, connection.executemany

    def pointed(sql: str, parameters: Any = ()) -> Any:
        step = _step_of(sql)
        if step is None:
            return execute(sql, parameters)
        if step == "insert inbox" and points.armed and points.halves == role:
            connection.control("COMMIT")
            connection.control("BEGIN")
        return points.around(role, step, lambda: execute(sql, parameters))

    def pointed_many(sql: str, parameters: Any) -> Any:
        rows, step = list(parameters), _step_of(sql)
        if step is None or not rows:
            return executemany(sql, rows)
        return points.around(role, step, lambda: executemany(sql, rows))

    connection.execute = pointed
    if isinstance(connection, sqlite_connection.Connection):  # the other one runs them one by one
        vars(connection).update(executemany=pointed_many)


def _pointed_sqlite(points: Points, role: str, store: SqliteStore) -> None:
    connection: Any = store._writer._connection
    _pointed_connection(points, role, connection)
    control = connection.control

    def pointed(sql: str) -> Any:
        if sql == "COMMIT":
            points.at(role, "commit.before")
        result = control(sql)
        if sql == "COMMIT":
            points.committed(role)
            points.at(role, "commit.after")
        if sql == "BEGIN IMMEDIATE":
            points.at(role, "begin.after")
        return result

    connection.control = pointed


def _pointed_postgres(points: Points, role: str, connection: Any) -> None:
    _pointed_connection(points, role, connection)
    commit, begin, flush = connection.commit, connection.begin, connection.flush
    put = connection.put

    def pointed_put(target: Any, key: Any, row: Any) -> None:
        step = _step_of(target.sql.decode())
        if step is None:
            put(target, key, row)
        else:
            points.around(role, step, lambda: put(target, key, row))

    def pointed_flush() -> None:
        points.around(role, "flush", flush)

    def pointed_commit(*args: Any, **how: Any) -> None:
        points.at(role, "commit.before")
        connection.flush = flush  # it takes the commit with it
        try:
            commit(*args, **how)
        finally:
            connection.flush = pointed_flush
        points.committed(role)
        points.at(role, "commit.after")

    def pointed_begin(mode: str, *args: Any, **how: Any) -> None:
        begin(mode, *args, **how)
        if mode == "READ COMMITTED":
            points.at(role, "begin.after")

    connection.commit, connection.begin = pointed_commit, pointed_begin
    connection.flush, connection.put = pointed_flush, pointed_put


class PointedSigner(MessageSigner):
    """A signer with points around its signatures."""

    points: Points

    def header(self, *args: Any, **rules: Any) -> Any:
        role = ROLES.get(self.subscriber_id, "")
        return self.points.around(role, "sign", lambda: MessageSigner.header(self, *args, **rules))

    def answer_header(self, *args: Any, **rules: Any) -> Any:
        role = ROLES.get(self.subscriber_id, "")
        work = MessageSigner.answer_header
        return self.points.around(role, "sign answer", lambda: work(self, *args, **rules))


class PointedWire(network.Wire):
    """The wire with points at both of its ends; what is acknowledged is noted outside."""

    points: Points

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        context = strict_json.decode_object(body)["context"]
        action = str(context["action"])
        sender = ROLES[context["bpp_id" if action.startswith("on_") else "bap_id"]]
        self.points.at(sender, "send.before")
        answer = await super().post(url, body, headers)
        receiver = next(role for host, role in _ROLE_OF.items() if f"//{host}/" in url)
        self.points.at(receiver, "answer.before")
        if answer.status < 300:
            facts = {"action": action, "message_id": context["message_id"], "by": receiver}
            self.points.note("acknowledged", **facts, sender=sender, body=body.decode())
        self.points.at(receiver, "answer.after")
        self.points.at(sender, "send.after")
        return answer


def make_test_build(points: Points) -> None:
    """Put the points around what `bootstrap` builds from now on, in this process."""
    roles: dict[str, str] = {}
    build_store = adapter.bootstrap._store
    open_connection = postgres_connection.Connection.open.__func__  # type: ignore[attr-defined]

    def pointed_store(settings: Settings) -> Store:
        role = settings.node.roles[0].value
        if settings.database.url.path is None:
            roles[settings.database.url.url] = role
        store = build_store(settings)
        if isinstance(store, SqliteStore):
            _pointed_sqlite(points, role, store)
        return PointedStore(points, role, store)

    def pointed_open(kind: Any, url: str) -> Any:
        connection = open_connection(kind, url)
        _pointed_postgres(points, roles[url], connection)
        return connection

    PointedSigner.points = PointedWire.points = points
    vars(adapter.bootstrap).update(_store=pointed_store, MessageSigner=PointedSigner)
    postgres_connection.Connection.open = classmethod(pointed_open)  # type: ignore[method-assign,assignment]
    vars(network).update(Wire=PointedWire)

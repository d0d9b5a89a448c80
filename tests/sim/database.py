"""The ledger's database with faults: statements that fail, and a process that dies between two."""

import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from adapter.store.ledger_sqlite import SqliteLedger
from adapter.store.sqlite_connection import Connection


class Crash(BaseException):
    """The process dies here; nothing may catch it."""


class Faulty(Connection):
    """A connection that fails before its n-th statement from now."""

    countdown: int | None = None
    """Statements that still succeed; None: all."""
    dies: bool = False
    """Whether the process dies then; else only the statement fails."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Run a statement, unless its time has come."""
        self._count()
        return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        """Run a statement many times; the fault may come between two of them."""
        cursor = self.cursor()
        for row in parameters:
            self._count()
            cursor = super().execute(sql, row)
        return cursor

    def control(self, sql: str) -> sqlite3.Cursor:
        """Begin or end a transaction; a fault may come before it ends."""
        if sql == "COMMIT":
            self._count()
        return super().control(sql)

    def _count(self) -> None:
        if self.countdown is None:
            return
        self.countdown -= 1
        if self.countdown < 0:
            self.countdown = None
            if self.dies:
                raise Crash
            why = "disk I/O error"
            raise sqlite3.OperationalError(why)


class Database:
    """A database file that outlives the processes that use it."""

    def __init__(self, folder: Path, content: bytes, random: Random) -> None:
        """Begin with the content of a database file."""
        self._folder = folder
        self._random = random
        self.crashes = 0
        self._path = folder / "ledger-0.db"
        self._path.write_bytes(content)
        self.connection = self._open()

    @property
    def ledger(self) -> SqliteLedger:
        """Return the ledger of the running process."""
        return SqliteLedger(self.connection)

    def arm(self, statements: int, *, dies: bool) -> None:
        """Let a fault happen after so many more statements."""
        self.connection.countdown, self.connection.dies = statements, dies

    def disarm(self) -> None:
        """Call the fault off, if it has not happened."""
        self.connection.countdown = None

    def die(self) -> None:
        """Leave the files as they are at this moment, and open them as the next process would."""
        self.crashes += 1
        following = self._folder / f"ledger-{self.crashes}.db"
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{self._path}{suffix}", f"{following}{suffix}")
        self.connection.close()
        self._path = following
        self.connection = self._open()

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def _open(self) -> Faulty:
        connection = sqlite3.connect(self._path, isolation_level=None, factory=Faulty)
        assert isinstance(connection, Faulty)
        # The page cache outlives a killed process, so nothing has to reach the disk here.
        connection.control("PRAGMA synchronous = OFF")
        connection.control("PRAGMA journal_mode = WAL")
        return connection

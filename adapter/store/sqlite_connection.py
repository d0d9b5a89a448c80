"""Opens connections to one SQLite file: pragmas, read-only readers, one node per file."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from adapter.domain.errors import WireError
from adapter.store.errors import StoreError

BUSY_MS = 5_000
"""How long a statement waits for another process, such as a backup, before it fails."""
CACHED_STATEMENTS = 512
"""More than the statements of the node and its ledger, so that none is prepared twice."""
CHECKPOINT_PAGES = 4_000
"""16 MB of log between checkpoints: fewer stalls of the writer than SQLite's 1000 pages."""
LOG_BYTES_MAX = 64 * 1024 * 1024
"""The log file is cut back to this after a burst."""


class Connection(sqlite3.Connection):
    """A connection whose statements run inside a transaction or not at all.

    SQLite rolls a whole transaction back when a disk is full or breaks. A unit that goes on after
    that would write outside of any transaction, and each statement would stay: half a unit.
    Transactions themselves are driven through `control`.
    """

    def __init__(self, *args: Any, **how: Any) -> None:
        """Open the connection and know nothing yet."""
        super().__init__(*args, **how)
        self.known: dict[object, Any] = {}
        """What units of work have found and is still true: for `ledger_known`."""
        self._version = 0
        """What SQLite calls the state of the file at the beginning of the transaction."""
        self._known_at: int | None = None
        """The version that `known` is of; None while it is not committed."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Run a statement of the open transaction."""
        if not self.in_transaction:
            raise transaction_lost()
        return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        """Run a statement of the open transaction many times."""
        if not self.in_transaction:
            raise transaction_lost()
        return super().executemany(sql, parameters)

    def control(self, sql: str) -> sqlite3.Cursor:
        """Run a statement that begins or ends a transaction, or sets a pragma."""
        done = super().execute(sql)
        if sql.startswith("BEGIN"):
            self._remember()
        elif sql == "COMMIT":
            self._known_at = self._version
        return done

    def _remember(self) -> None:
        """Go on knowing what was committed, unless another connection has written since then."""
        self._version = super().execute("PRAGMA data_version").fetchone()[0]
        if self._known_at != self._version:
            self.known.clear()
        self._known_at = None


def transaction_lost(why: BaseException | None = None) -> WireError:
    """Return the refusal of a unit whose transaction the database has rolled back."""
    cause = "" if why is None else f": {why}"
    return _unavailable(f"the database has rolled the transaction back{cause}")


def closed() -> WireError:
    """Return the refusal of a unit that comes after the end."""
    return _unavailable("the database is closed")


def told(error: sqlite3.DatabaseError, *, is_query: bool = False) -> Exception:
    """Return the error for the caller of a unit: a refusal when the database is full or away."""
    if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
        return error  # a bug of the unit
    if is_query and error.sqlite_errorcode == sqlite3.SQLITE_READONLY:
        return StoreError("a query must not write")
    return refused(error)


def refused(error: sqlite3.DatabaseError) -> WireError:
    """Return the refusal of a unit that the database has not taken."""
    refusal = _unavailable(f"the database refuses: {error}")
    refusal.__cause__ = error
    return refusal


def open_writer(path: Path | None) -> Connection:
    """Return a connection that may write, without an open transaction; None is in memory."""
    connection = _connect(":memory:" if path is None else path.absolute().as_uri())
    mode = connection.control("PRAGMA journal_mode = WAL").fetchone()[0]
    assert mode in ("wal", "memory"), mode
    connection.control("PRAGMA synchronous = FULL")
    connection.control(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.control(f"PRAGMA journal_size_limit = {LOG_BYTES_MAX}")
    connection.control("PRAGMA foreign_keys = ON")
    connection.control("PRAGMA cache_size = -65536")
    return connection


def open_reader(path: Path) -> Connection:
    """Return a connection that cannot write; the file must exist."""
    connection = _connect(f"{path.absolute().as_uri()}?mode=ro")
    connection.control("PRAGMA cache_size = -16384")
    return connection


def _connect(address: str) -> Connection:
    connection = sqlite3.connect(
        address,
        timeout=BUSY_MS / 1_000,
        isolation_level=None,  # transactions are begun and ended here, never by the module
        check_same_thread=False,  # opened by one thread, then used by one other
        factory=Connection,
        cached_statements=CACHED_STATEMENTS,
        uri=True,
    )
    assert isinstance(connection, Connection)
    connection.control("PRAGMA temp_store = MEMORY")
    connection.control("PRAGMA trusted_schema = OFF")
    return connection


class FileLock:
    """Keeps a second node away from a database file while it is held.

    It is SQLite's own lock on an empty database beside the file: bound to the process, so that it
    goes with a killed one and is not inherited by a child, unlike `flock`; and it holds between two
    stores of one process too, unlike `lockf`.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock.

        Raises:
            StoreError: another node holds it.
        """
        beside = path.with_name(f"{path.name}-lock")
        beside.touch(mode=0o600)
        self._connection = sqlite3.connect(
            beside, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            self._connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            self._connection.close()
            msg = f"{path} is in use by another node: one database serves one node ({error})"
            raise StoreError(msg) from None

    def release(self) -> None:
        """Let others have the file."""
        self._connection.close()


def _unavailable(why: str) -> WireError:
    return WireError("NET_DOWNSTREAM_UNAVAILABLE", why)

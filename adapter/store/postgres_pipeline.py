"""Sends several statements to PostgreSQL at once and reads their outcomes in one round trip.

The library's cursors could do the same, at three times the processor time for each statement,
which is what bounds a node. Statements are prepared at their first use and known by their text
and the types of their values, as the library does.
"""

import itertools
import select
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import errors, pq
from psycopg.adapt import PyFormat, Transformer

STATEMENTS = 512
"""Prepared on each connection: more than the node and its ledger have."""

_READABLE = select.POLLIN | select.POLLERR | select.POLLHUP
_FORMATS = [PyFormat.AUTO]


class Statement:
    """A statement with its values, and once it was sent what came of it."""

    __slots__ = ("formats", "key", "result", "values")

    def __init__(self, sql: bytes, types: tuple[int, ...], values: Any, formats: Any) -> None:
        """Take the text with `$1` where values go, and the values as they are sent."""
        self.key = (sql, types)
        self.values = values
        self.formats = formats
        self.result: pq.abc.PGresult | None = None

    @property
    def writes(self) -> bool:
        """Return whether it may change anything."""
        return not self.key[0].lstrip().startswith(b"SELECT")


class Pipeline:
    """The statements of one connection, in the thread that has it."""

    def __init__(self, raw: psycopg.Connection[Any]) -> None:
        """Take an open connection; between two runs the library may use it."""
        self._pgconn = raw.pgconn
        self._transformer = Transformer(raw)
        self._names: dict[tuple[bytes, tuple[int, ...]], bytes] = {}
        self._numbers = itertools.count()
        self.failed: Statement | None = None
        """The statement that failed in the last run."""

    def statement(self, sql: bytes, values: Sequence[Any]) -> Statement:
        """Return a statement with its values as they will be sent.

        Raises:
            psycopg.DataError: a value that PostgreSQL cannot hold.
        """
        if not values:
            return Statement(sql, (), (), ())
        transformer = self._transformer
        sent = transformer.dump_sequence(values, _FORMATS * len(values))
        return Statement(sql, transformer.types or (), sent, transformer.formats)

    def run(self, statements: Sequence[Statement]) -> None:
        """Send statements and read their outcomes, until one fails.

        Raises:
            psycopg.Error: the first one that failed; those after it were not run. Its `sqlstate`
                is None when the connection broke.
        """
        self.failed = None
        pgconn = self._pgconn
        pgconn.enter_pipeline_mode()
        sent: list[tuple[Statement, bytes | None]] = []
        for one in statements:
            self._send(one, sent)
        pgconn.pipeline_sync()
        failed = self._read(sent)
        pgconn.exit_pipeline_mode()
        if failed is not None:
            raise errors.error_from_result(failed)

    def rows(self, result: "pq.abc.PGresult") -> list[Any]:
        """Return the rows of an outcome as tuples."""
        if not result.ntuples:
            return []
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    def _send(self, one: Statement, sent: list[tuple[Statement, bytes | None]]) -> None:
        pgconn = self._pgconn
        name = self._names.get(one.key)
        if name is None and len(self._names) < STATEMENTS:
            name = b"p%d" % next(self._numbers)
            pgconn.send_prepare(name, one.key[0], one.key[1])
            sent.append((one, name))
            # Known at once, for the same statement further on; forgotten again if this fails.
            self._names[one.key] = name
        if name is None:
            pgconn.send_query_params(one.key[0], one.values, one.key[1], one.formats, 1)
        else:
            pgconn.send_query_prepared(name, one.values, one.formats, 1)
        sent.append((one, None))

    def _read(self, sent: Sequence[tuple[Statement, bytes | None]]) -> "pq.abc.PGresult | None":
        """Give each statement its outcome; return the first failure."""
        failed: pq.abc.PGresult | None = None
        for one, name in sent:
            result = self._result()
            if result.status == pq.ExecStatus.FATAL_ERROR and failed is None:
                self.failed, failed = one, result
            if failed is not None:
                if name is not None:
                    self._names.pop(one.key, None)
            elif name is None:
                one.result = result
        self._result()  # of the synchronisation
        return failed

    def _result(self) -> "pq.abc.PGresult":
        """Return the next outcome; between two there is nothing to read.

        Raises:
            psycopg.OperationalError: the connection broke.
        """
        pgconn = self._pgconn
        for _ in range(3):
            if pgconn.is_busy():
                self._wait()
            result = pgconn.get_result()
            if result is not None:
                return result
        raise psycopg.OperationalError(pgconn.error_message.decode(errors="replace"))

    def _wait(self) -> None:
        """Send what is not sent and wait until an outcome is there, without holding up threads."""
        pgconn = self._pgconn
        poll = select.poll()
        while pgconn.is_busy():
            unsent = pgconn.flush()
            poll.register(pgconn.socket, _READABLE | (select.POLLOUT if unsent else 0))
            poll.poll()
            try:
                pgconn.consume_input()
            except psycopg.OperationalError:
                return  # what came before the end tells how far the server got

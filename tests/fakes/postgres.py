"""A real PostgreSQL server for tests, in a folder of its own, on a unix socket.

The one on PATH, or the newest below /usr/lib/postgresql. It refuses to run as root, so root hands
it to another user. It ends with the test process, whatever ended that.
"""

import contextlib
import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

START_S = 30
"""How long a start may take; after a crash it reads its log first."""
USER = "node"
_PR_SET_PDEATHSIG = 1
_EMPTY = """
DO $$
DECLARE name text;
BEGIN
    SET LOCAL session_replication_role = replica; -- in any order
    FOR name IN SELECT tablename FROM pg_tables
                WHERE schemaname = current_schema() AND tablename <> 'migration'
    LOOP EXECUTE 'DELETE FROM ' || name; END LOOP;
END $$
"""
"""Faster than new tables, which are dozens of files."""


def programs() -> Path:
    """Return the folder with initdb and postgres; fail the test when there is none."""
    on_path = [shutil.which("postgres"), shutil.which("initdb")]
    found = [Path(one).resolve().parent for one in on_path if one is not None]
    if len(found) == 2 and found[0] == found[1]:
        return found[0]
    installed = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(installed, key=lambda path: int(path.parts[-3]), default=None)
    if newest is None:
        pytest.fail("no PostgreSQL server here: `make test` installs one by apt", pytrace=False)
    return newest.parent


class PostgresServer:
    """One server; `stop` and `start` as often as a test likes, `close` at the end."""

    def __init__(
        self, *, durable: bool = False, standby_of: "PostgresServer | None" = None
    ) -> None:
        """Make its folder and start it.

        Args:
            durable: with fsync, as in earnest; without, for all tests that kill no server.
            standby_of: a server that it copies and then follows, instead of a database of its own.
        """
        self._programs = programs()
        self._folder = Path(tempfile.mkdtemp(prefix="p2p-pg-"))
        self._as: dict[str, Any] = {"cwd": self._folder}
        if os.geteuid() == 0:
            owner = _somebody_else()
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
            self._as |= {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        self._durable = durable
        self._schemas = itertools.count(1)
        self._clean: list[str] = []
        """Schemas with the tables of a node and no rows."""
        self._process: subprocess.Popen[bytes] | None = None
        subprocess.run(
            self._made_new() if standby_of is None else self._made_of(standby_of),
            check=True,
            stdout=subprocess.DEVNULL,
            **self._as,
        )
        self.start()
        if standby_of is not None:
            standby_of.wait_for_copies()

    def url(self, schema: str = "public") -> str:
        """Return the URL of a schema."""
        return url_of(schema, self)

    def fresh_url(self) -> str:
        """Return the URL of a new, empty schema."""
        schema = f"test_{next(self._schemas)}"
        self.run(f"CREATE SCHEMA {schema}")
        return self.url(schema)

    @contextlib.contextmanager
    def lent(self) -> Iterator[str]:
        """Give the URL of a schema that is empty, or holds empty tables of ours."""
        url = self._clean.pop() if self._clean else self.fresh_url()
        yield url
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_EMPTY)
        self._clean.append(url)

    def run(self, sql: str) -> list[Any]:
        """Run a statement of the test; return its rows, if it has any."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def log(self) -> str:
        """Return what the server has logged: errors of all sessions, deadlocks among them."""
        return (self._folder / "log").read_text()

    @property
    def host(self) -> str:
        """Return where it listens, for a URL."""
        return quote(str(self._folder), safe="")

    def wait_for_copies(self) -> None:
        """Let a commit wait from now on until the server that follows has it on its disk."""
        self.run("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.run("SELECT pg_reload_conf()")
        until = time.monotonic() + START_S
        while not self.run("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"):
            assert time.monotonic() < until, "nobody follows"
            time.sleep(0.05)

    def promote(self) -> None:
        """Let a server that follows take over; returns once it takes commits."""
        assert self.run("SELECT pg_promote()") == [(True,)]

    def _made_new(self) -> list[str | Path]:
        return [
            *(self._programs / "initdb", "--pgdata", self._folder / "data"),
            *("--username", USER, "--auth", "trust", "--encoding", "UTF8", "--no-locale"),
            "--no-sync",
        ]

    def _made_of(self, first: "PostgresServer") -> list[str | Path]:
        return [
            *(self._programs / "pg_basebackup", "--pgdata", self._folder / "data"),
            *("--host", first._folder, "--username", USER, "--write-recovery-conf"),
            *("--checkpoint", "fast", "--no-sync"),
        ]

    def start(self) -> None:
        """Start the server and wait until it answers."""
        assert self._process is None
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self._programs / "postgres", "-D", self._folder / "data"),
                    *("-k", self._folder, "-c", "listen_addresses="),
                    *("-c", f"fsync={'on' if self._durable else 'off'}"),
                    *("-c", "max_connections=200", "-c", "shared_buffers=32MB"),
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,
                **self._as,
            )
        until = time.monotonic() + START_S
        while True:
            try:
                self.run("SELECT 1")
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > until:
                    lines = (self._folder / "log").read_text().splitlines()
                    pytest.fail("\n".join(["PostgreSQL does not start:", *lines[-5:]]))
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """End the server at once, as `pg_ctl stop -m immediate`: no checkpoint."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()
        self._process = None

    def close(self) -> None:
        """End the server and remove its folder."""
        if self._process is not None:
            self.stop()
        shutil.rmtree(self._folder)


def url_of(schema: str, *servers: PostgresServer) -> str:
    """Return the URL of a schema on whichever of these servers takes commits."""
    hosts = ",".join(server.host for server in servers)
    which = "&target_session_attrs=read-write" if len(servers) > 1 else ""
    options = quote(f"-csearch_path={schema}")
    return f"postgresql://{USER}@/postgres?host={hosts}&options={options}{which}"


@contextlib.contextmanager
def running(*, durable: bool = False) -> Iterator[PostgresServer]:
    """Give a server of one's own, as for a test that stops it."""
    server = PostgresServer(durable=durable)
    try:
        yield server
    finally:
        server.close()


def _somebody_else() -> pwd.struct_passwd:
    """Return a user to run the server as: its own, or nobody."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    pytest.fail("PostgreSQL does not run as root, and there is no user nobody", pytrace=False)


def _end_with_parent() -> None:
    """Ask the kernel to end this process with the thread that started it; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)

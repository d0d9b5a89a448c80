"""`p2ptrade serve`: one node in this process or several, until SIGTERM or SIGINT.

Open requests are finished, then it ends with exit code 0, within 10 s. Several processes share one
listening socket, made before them: who connects while one of them dies stays in its queue and is
taken by another. With a socket each (SO_REUSEPORT) the queue of the dead one would be lost.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
import uvicorn

from adapter.bootstrap import build_node
from adapter.cli.logs import set_up_logs
from adapter.cli.output import misuse, refuse
from adapter.cli.workers import Workers
from adapter.domain.errors import AdapterError
from adapter.settings import Settings, SettingsError, load_settings
from adapter.transport.key_files import KeyFileError
from adapter.transport.registry_static import RegistryFileError
from adapter.transport.token_files import TokenFileError
from adapter.web.app import create_app
from adapter.web.ending import Ending
from adapter.web.http_protocol import BoundedHttpProtocol
from adapter.web.metrics import AsgiApp

FINISH_S = 3
"""How long open requests may take after a signal; the drain then has 5 s for what it sends."""
KEEP_ALIVE_S = 30
"""How long an idle connection stays; peers send the next message of a trade through it."""
BACKLOG = 1_024

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_log = logging.getLogger(__name__)


class NodeServer(uvicorn.Server):
    """uvicorn that ends with exit code 0 after a signal, instead of raising it again."""

    def __init__(
        self, config: uvicorn.Config, ending: Ending, ready: Callable[[], None] = lambda: None
    ) -> None:
        """Take whom to tell that requests should wait no longer, and that they are taken."""
        super().__init__(config)
        self._ending = ending
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the node and take requests."""
        await super().startup(sockets)
        # Nothing that is there by now ever goes: no collection needs to look at it again.
        gc.collect()
        gc.freeze()
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Ask for the end on SIGTERM and SIGINT; a second one changes nothing."""
        loop = asyncio.get_running_loop()

        def ask(number: int, _frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self.end, signal.Signals(number).name)

        before = {number: signal.signal(number, ask) for number in uvicorn.server.HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def end(self, why: str) -> None:
        """Take no more requests, finish the open ones and stop."""
        if not self.should_exit:
            _log.info("%s: finishing open requests", why)
        self.should_exit = True
        self._ending.begin()


@app.command()
def serve(
    config: Annotated[Path, typer.Option(help="node.yaml of the node.")],
    workers: Annotated[
        int,
        typer.Option(min=1, max=64, help="Processes; more than one need PostgreSQL."),
    ] = 1,
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = "INFO",
    until_stdin_closes: Annotated[
        bool, typer.Option("--until-stdin-closes", hidden=True, help="End with the parent.")
    ] = False,
) -> None:
    """Run one node; logs go to stderr as JSON lines."""
    try:
        settings = load_settings(config)
    except SettingsError as error:
        refuse(str(error))
    if workers > 1 and settings.database.url.path is not None:
        misuse(
            f"--workers {workers}: database.url is SQLite, which one process owns; "
            "expected postgresql://user@host/database, or --workers 1"
        )
    set_up_logs(log_level.upper())
    if workers == 1:
        sys.exit(_run(settings, sys.stdin.fileno() if until_stdin_closes else None))
    sys.exit(_run_workers(settings, workers, until_stdin_closes=until_stdin_closes))


def _run_workers(settings: Settings, count: int, *, until_stdin_closes: bool) -> int:
    """Serve in several processes until the end; return the exit code."""
    with contextlib.suppress(ImportError):  # without it each worker says what is missing
        import adapter.store.postgres_siblings  # noqa: F401  # in the memory that all share
    bind = settings.node.bind
    listening = uvicorn.Config("", host=bind.host, port=bind.port, log_config=None).bind_socket()
    listening.listen(BACKLOG)
    workers = Workers(
        count,
        lambda leash: _run(settings, leash.fd, listening=listening, ready=leash.ready),
        until_stdin_closes=until_stdin_closes,
    )
    return workers.run()


def _run(
    settings: Settings,
    end_fd: int | None,
    *,
    listening: socket.socket | None = None,
    ready: Callable[[], None] = lambda: None,
) -> int:
    """Serve until the end, also that of the file `end_fd`; return the exit code."""

    async def serve_node() -> int:
        try:
            node = build_node(settings)
            ending = Ending()
            application = create_app(node, ending)
        except (
            AdapterError,
            KeyFileError,
            RegistryFileError,
            SettingsError,
            TokenFileError,
        ) as error:
            _log.error("the node cannot start: %s", error)
            refuse(str(error))
        server = NodeServer(_config(settings, application), ending, ready)
        if end_fd is not None:
            _end_with(end_fd, server)
        try:
            await server.serve(None if listening is None else [listening])
        except SystemExit:
            return 1  # uvicorn has logged why: the port is taken, or the node did not start
        return 0

    with asyncio.Runner(loop_factory=_loop) as runner:
        return runner.run(serve_node())


def _config(settings: Settings, application: AsgiApp) -> uvicorn.Config:
    bind = settings.node.bind
    return uvicorn.Config(
        application,
        host=bind.host,
        port=bind.port,
        http=BoundedHttpProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=FINISH_S,
    )


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def _end_with(fd: int, server: NodeServer) -> None:
    """Ask for the end when nobody holds the other end of a pipe any more."""
    loop = asyncio.get_running_loop()

    def readable() -> None:
        if not os.read(fd, 1_024):
            loop.remove_reader(fd)
            server.end("whoever started this has gone")

    loop.add_reader(fd, readable)

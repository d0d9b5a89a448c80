"""`p2ptrade serve`: one node in this process, until SIGTERM or SIGINT.

Open requests are finished, then the process ends with exit code 0, within 10 s.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
import uvicorn

from adapter.bootstrap import build_node
from adapter.cli.logs import set_up_logs
from adapter.cli.output import refuse
from adapter.domain.errors import AdapterError
from adapter.settings import Settings, SettingsError, load_settings
from adapter.transport.key_files import KeyFileError
from adapter.transport.registry_static import RegistryFileError
from adapter.transport.token_files import TokenFileError
from adapter.web.app import create_app
from adapter.web.ending import Ending
from adapter.web.http_protocol import BoundedHttpProtocol

FINISH_S = 3
"""How long open requests may take after a signal; the drain then has 5 s for what it sends."""
KEEP_ALIVE_S = 30
"""How long an idle connection stays; peers send the next message of a trade through it."""
BACKLOG = 1_024

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_log = logging.getLogger(__name__)


class NodeServer(uvicorn.Server):
    """uvicorn that ends with exit code 0 after a signal, instead of raising it again."""

    def __init__(self, config: uvicorn.Config, ending: Ending) -> None:
        """Take whom to tell that requests should wait no longer."""
        super().__init__(config)
        self._ending = ending

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
    set_up_logs(log_level.upper())
    sys.exit(_run(settings, until_stdin_closes=until_stdin_closes))


def _run(settings: Settings, *, until_stdin_closes: bool) -> int:
    """Serve until the end; return the exit code."""

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
        bind = settings.node.bind
        server = NodeServer(
            uvicorn.Config(
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
            ),
            ending,
        )
        if until_stdin_closes:
            _end_with_stdin(server)
        try:
            await server.serve()
        except SystemExit:
            return 1  # uvicorn has logged why: the port is taken, or the node did not start
        return 0

    with asyncio.Runner(loop_factory=_loop) as runner:
        return runner.run(serve_node())


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def _end_with_stdin(server: NodeServer) -> None:
    """Ask for the end when nobody holds the other end of stdin any more."""
    loop = asyncio.get_running_loop()

    def readable() -> None:
        if not os.read(sys.stdin.fileno(), 1_024):
            loop.remove_reader(sys.stdin.fileno())
            server.end("stdin closed")

    loop.add_reader(sys.stdin.fileno(), readable)

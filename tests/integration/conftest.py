"""Servers on loopback that answer as a test tells them, and one running network for all."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from aiohttp import web

from tests.fakes.live import Live, live_network

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    runners: list[web.AppRunner] = []

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        return f"http://{host}:{port}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The nodes of the demo as processes, shared by the tests that need real HTTP."""
    with live_network(tmp_path_factory.mktemp("live")) as network:
        yield network


@pytest.fixture(autouse=True)
def quiet(request: pytest.FixtureRequest) -> None:
    """Begin where no timer of the running network has anything to do for a while."""
    if "live" in request.fixturenames:
        request.getfixturevalue("live").quiet()

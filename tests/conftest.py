"""What holds for every test."""

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.fakes.postgres import PostgresServer, running

# How long an example takes says more about the machine than about the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much the simulator has run, also when its tests ran in several workers."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        for name, value in getattr(report, "user_properties", []):
            if name == "simulated":
                counts.update(value)
    if counts:
        shown = ", ".join(f"{counts[name]} {name}" for name in sorted(counts))
        terminalreporter.write_line(f"simulator: {shown}")


@pytest.fixture(scope="session")
def durable_server() -> Iterator[PostgresServer]:
    """Give a PostgreSQL server with fsync; a test that stops it starts it again."""
    with running(durable=True) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Give a PostgreSQL server, one for each worker, started by the first test that needs it."""
    with running() as server:
        yield server

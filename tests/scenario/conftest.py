"""A network of three nodes and, where a test asks for it, a buyer's app played by hand."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.network import Network, offer, open_network
from tests.fakes.stranger import Stranger


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    """Three nodes; the seller offers 30 kWh, the meters may trade 50 and 100 kWh."""
    opened = await open_network(tmp_path)
    await opened.bpp.catalogue.publish(offer())
    yield opened
    await opened.close()


@pytest.fixture
def buyer(network: Network) -> Stranger:
    """A second buyer's app whose messages are made by hand."""
    return Stranger(network)

"""A network of three nodes, or a market; where a test asks for it, others played by hand."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.market import GRID, LOAD, ROOF, THIRD, Market, Operator, Party, open_market
from tests.fakes.network import Network, offer, open_network
from tests.fakes.stranger import Stranger
from tests.scenario.market_session_steps import findings


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


@pytest.fixture
async def market(tmp_path: Path) -> AsyncIterator[Market]:
    """A market node; whatever it sends keeps the schema and the rules."""
    opened = await open_market(tmp_path)
    yield opened
    assert findings(opened) == []
    await opened.close()


@pytest.fixture
def operator(market: Market) -> Operator:
    """The market's grid operator, by hand; it grants what it is not told to refuse."""
    return Operator(market, GRID)


@pytest.fixture
def load(market: Market) -> Party:
    """The app of somebody who withdraws."""
    return Party(market, LOAD)


@pytest.fixture
def roof(market: Market) -> Party:
    """The app of somebody who exports."""
    return Party(market, ROOF)


@pytest.fixture
def third(market: Market) -> Party:
    """A third app."""
    return Party(market, THIRD)

"""A node whose markets are cleared in other processes."""

from collections.abc import AsyncIterator
from multiprocessing import active_children
from pathlib import Path

import pytest
import yaml

from adapter import bootstrap
from adapter.bootstrap import Ports, build_node
from adapter.settings import SettingsError, load_settings
from tests.fakes.network import BUYER_METER, GRID, SELLER_METER, Network, open_network
from tests.fakes.readings import submit_readings


def configure(network: Network, **clearing: object) -> None:
    """Write how the operator's node clears."""
    file = network.files[GRID]
    document = yaml.safe_load(file.read_text())
    document["contracts"]["clearing"] = clearing
    file.write_text(yaml.safe_dump(document))


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    """Return a network whose operator clears every book in two processes."""
    network = await open_network(tmp_path)
    configure(network, executor="processes", workers=2, from_orders=1)
    await network.grid.stop()
    ports = Ports(clock=network.clock, ids=network.grid.parts.ids, sender=network.wire)
    network.grid = build_node(load_settings(network.files[GRID]), ports)
    yield network
    await network.close()


async def test_a_due_epoch_is_cleared_in_the_processes(network: Network) -> None:
    network.clock.move_to("2026-03-02T12:00:00Z")
    await submit_readings(network, count=1)
    await network.call(
        "sun",
        "trading",
        "create_sell_order",
        energy_amount="2",
        price_per_unit="0.1",
        meter_id=SELLER_METER,
    )
    await network.call(
        "bob",
        "trading",
        "create_buy_order",
        energy_amount="3",
        max_price="0.2",
        meter_id=BUYER_METER,
    )
    others = active_children()
    network.clock.advance(900)
    await network.grid.timers.tick()
    workers = [process for process in active_children() if process not in others]
    assert len(workers) == 1  # one book is one part
    assert await network.balance("bob", "GRID") == "2"
    await network.grid.stop()
    assert not any(process.is_alive() for process in workers)


async def test_a_cluster_needs_its_extra(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(network, executor="dask", scheduler="tcp://127.0.0.1:8786")
    monkeypatch.setattr(bootstrap, "find_spec", lambda _name: None)
    with pytest.raises(SettingsError, match=r"^contracts.clearing.executor = dask: .*\[dask"):
        build_node(load_settings(network.files[GRID]))

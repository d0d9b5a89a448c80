"""The registry is away, or its file breaks: fail closed, and what was read before stays in use."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from adapter.demo.processes import free_ports
from adapter.transport.registry_static import LOOK_MS
from adapter.web.operations import readiness
from tests.fakes.network import BPP, Network, open_network
from tests.fakes.stranger import Reply, Stranger


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    opened = await open_network(tmp_path)
    yield opened
    await opened.close()


async def asked(network: Network) -> Reply:
    network.clock.advance(LOOK_MS)  # so long a changed file may be overlooked
    buyer = Stranger(network)
    request = buyer.request("discover", transaction_id=f"T-{stored(network)}")
    return await buyer.post(request | {"message": {"text_search": "solar"}})


def stored(network: Network) -> int:
    with closing(sqlite3.connect(network.files[BPP].with_suffix(".db"))) as connection:
        return int(connection.execute("SELECT count(*) FROM inbox").fetchone()[0])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("participants: [", id="cut in its middle"),
        pytest.param("", id="empty"),
        pytest.param("participants: [{subscriber_id: x}]", id="records without a key"),
    ],
)
async def test_a_broken_file_is_refused_and_the_old_one_stays(
    content: str, network: Network, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = (tmp_path / "network.yaml").read_text()
    (tmp_path / "network.yaml").write_text(content)
    assert (await asked(network)).status == 200
    assert any("the new registry file is refused" in text for text in caplog.messages)
    (tmp_path / "network.yaml").write_text(good.replace("SUBSCRIBED", "UNSUBSCRIBED"))
    assert (await asked(network)).status == 401  # a good one counts


async def test_a_file_that_is_gone_is_told_and_the_old_records_stay(
    network: Network, tmp_path: Path
) -> None:
    (tmp_path / "network.yaml").unlink()
    assert (await asked(network)).status == 200
    assert "stay in use" in (await readiness(network.bpp))["registry"]


async def test_a_registry_that_is_away_lets_nothing_in(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    [port] = free_ports(1)
    settings = yaml.safe_load(network.files[BPP].read_text())
    settings["registry"] = {"kind": "lookup", "url": f"http://127.0.0.1:{port}"}
    network.files[BPP].write_text(yaml.safe_dump(settings))
    await network.restart_bpp()
    reply = await asked(network)
    assert (reply.status, reply.code) == (503, "NET_DOWNSTREAM_UNAVAILABLE")
    assert int(reply.headers["retry-after"]) > 0
    assert stored(network) == 0
    assert any(text.startswith("registry lookup failed") for text in caplog.messages)

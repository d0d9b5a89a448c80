"""Status and cancel name a trade; what else their order holds is judged by nobody."""

from pathlib import Path

import pytest

from tests.fakes.network import open_network
from tests.fakes.stranger import Stranger


@pytest.mark.parametrize("action", ["status", "cancel"])
@pytest.mark.parametrize(
    "attributes", [{}, {"contractId": "c"}, {"@type": "EnergyContractP2PTrade", "contractId": "c"}]
)
async def test_attributes_that_nothing_has_judged_are_not_read(
    tmp_path: Path, action: str, attributes: dict[str, str]
) -> None:
    network = await open_network(tmp_path)
    buyer = Stranger(network)
    order = {"beckn:id": "order-unknown", "beckn:orderAttributes": attributes}
    body = buyer.request(action, transaction_id="T-unknown") | {"message": {"order": order}}
    reply = await buyer.post(body)
    assert reply.status < 500, reply
    await network.close()

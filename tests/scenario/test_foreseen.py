"""What a message is about is known before its unit of work begins: on PostgreSQL, few questions."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapter.service.ports import Store, UnitOfWork
from adapter.service.records import About
from adapter.store.postgres_unit import PostgresUnit
from tests.fakes.network import BAP, BPP, GRID, offer, open_network, plan
from tests.fakes.postgres import PostgresServer


class Counted:
    """A store that notes for each message how often its unit had to ask."""

    def __init__(self, store: Store, node: str, asked: dict[str, list[int]]) -> None:
        self._store = store
        self._node = node
        self._asked = asked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, unit: Callable[[UnitOfWork], Any], **how: Any) -> Any:
        about = how.get("about", About())

        def counted(uow: UnitOfWork) -> tuple[Any, int]:
            assert isinstance(uow, PostgresUnit)
            before = uow._connection.flushes
            return unit(uow), uow._connection.flushes - before

        result, flushes = await self._store.write(counted, **how)
        if about.message is not None:
            self._asked[f"{self._node} {about.message[2]}"].append(flushes)
        return result


async def test_most_messages_of_a_trade_ask_the_database_for_nothing_more(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    databases = {name: postgres_server.fresh_url() for name in (BAP, BPP, GRID)}
    network = await open_network(tmp_path, databases=databases)
    asked: dict[str, list[int]] = defaultdict(list)
    for node in (network.bap, network.bpp, network.grid):
        parts = node.parts
        counted = Counted(parts.store, parts.me.subscriber_id.split(".")[0], asked)
        object.__setattr__(parts, "store", counted)
    await network.bpp.catalogue.publish(offer())
    await network.bap.originator.start_trade(plan())
    await network.deliver()
    await network.close()
    assert asked["bpp select"] == asked["bpp init"] == [0]
    beside_the_ledger = [node for node in asked if not node.startswith("grid")]
    assert len(beside_the_ledger) == 10
    assert (
        max(most for node in beside_the_ledger for most in asked[node]) <= 4
    )  # an answer is bound to its request, which came before

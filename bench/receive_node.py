"""One node of the `receive` benchmark in a process of its own: `serve`, with a quiet outbox.

What it sends stays in its outbox, as when a peer is away: sending is the `trade` benchmark's
business. All else is the node as `p2ptrade serve` runs it, its log included.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from adapter.bootstrap import Node, Ports, build_node
from adapter.cli.logs import set_up_logs
from adapter.cli.serve import BACKLOG, KEEP_ALIVE_S, NodeServer
from adapter.protocol.acks import Acknowledgement, MessageIds, ack
from adapter.protocol.envelope import Envelope
from adapter.service.inbound import check_findings
from adapter.service.placing import stored_answer, variant_of
from adapter.service.ports import Answer, UnitOfWork
from adapter.service.records import NOTHING, About
from adapter.service.unit import Arrival, Taken, _inbox_row
from adapter.settings import load_settings
from adapter.store import sqlite_writer
from adapter.web.app import create_app
from adapter.web.ending import Ending
from adapter.web.http_protocol import BoundedHttpProtocol
from bench.receive_setup import Window, offer_for


class NobodyThere:
    """Implements `ports.Sender` for a network whose other end is silent."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Wait for ever."""
        await asyncio.Event().wait()
        raise AssertionError(url)

    async def close(self) -> None:
        """Do nothing."""


class NoStore:
    """Answers each unit of work at once, to show what a message costs without a store."""

    def __init__(self) -> None:
        """Make the answer that all get."""
        ids = MessageIds("00000000-0000-4000-8000-00000000000a")
        self._taken = Taken(ack("onix", ids), "")

    async def write(
        self, _unit: Callable[[UnitOfWork], Any], *, brief: bool = False, about: About = NOTHING
    ) -> Any:
        """Return an acknowledgement."""
        del brief, about
        return self._taken, True

    async def read(self, _query: Callable[[UnitOfWork], Any]) -> Any:
        """Return nothing found."""
        return None

    async def close(self) -> None:
        """Do nothing."""


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("--offers", type=int, default=0, help="offers to publish first")
    parser.add_argument("--one-by-one", action="store_true", help="a commit for each unit")
    parser.add_argument("--no-store", action="store_true")
    parser.add_argument("--bare", action="store_true", help="no rules, no trade, no callback")
    options = parser.parse_args()
    if options.one_by_one:
        sqlite_writer.GROUP_UNITS = 1
    set_up_logs("INFO")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options))
    sys.exit(0)


async def _serve(options: argparse.Namespace) -> None:
    settings = load_settings(options.config)
    node = build_node(settings, Ports(sender=NobodyThere()))
    await _publish(node, options.offers)
    if options.no_store:
        object.__setattr__(node.parts, "store", NoStore())
    if options.bare:
        _strip(node)
    ending = Ending()
    config = uvicorn.Config(
        create_app(node, ending),
        host=settings.node.bind.host,
        port=settings.node.bind.port,
        http=BoundedHttpProtocol,
        ws="none",
        lifespan="off" if options.no_store else "on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    await NodeServer(config, ending).serve()


def _strip(node: Node) -> None:
    """Leave of a node what the naive one does: signature, times, schema, message stored, answer."""
    inbound: Any = node.inbound

    def check(envelope: Envelope, _rules: object) -> None:
        check_findings(node.parts.schemas.check(envelope.action.value, envelope.body))

    def take(uow: UnitOfWork, arrival: Arrival) -> Taken:
        envelope = arrival.envelope
        known = stored_answer(uow, envelope, variant_of(envelope))
        if known is not None:
            return Taken(Acknowledgement(known.http_status, known.reply), envelope.transaction_id)
        answer = ack(arrival.ack_profile, MessageIds(envelope.message_id, envelope.transaction_id))
        uow.add_inbox_row(_inbox_row(arrival, answer, None))
        return Taken(answer, envelope.transaction_id)

    inbound._check_content = check
    inbound._units.take = take


async def _publish(node: Node, offers: int) -> None:
    """Publish an offer for each message that will come."""
    now_ms = node.parts.clock.now_ms()
    window = Window.after(now_ms)

    def publish(first: int) -> Callable[[UnitOfWork], None]:
        def unit(uow: UnitOfWork) -> None:
            for number in range(first, min(first + 1_000, offers)):
                uow.save_offer(offer_for(number, window, now_ms))

        return unit

    for first in range(0, offers, 1_000):
        await node.parts.store.write(publish(first))


if __name__ == "__main__":
    main()

"""Rows to store, with a default for everything that a test does not speak of."""

from dataclasses import replace
from typing import Any

from adapter.domain.offers import Offer
from adapter.domain.parties import Side
from adapter.domain.trade import CascadeLeg, LegState, OpenRequest, Peer, Trade
from adapter.protocol.decision import MessageKind
from adapter.service.records import Asked, InboxRow, OutboxRow, OutboxState

BAP = "bap.buyer.example"
OPERATOR = "grid.operator.example"


def inbox_row(message_id: str = "m1", **changes: Any) -> InboxRow:
    row = InboxRow(
        sender=BAP,
        message_id=message_id,
        action="init",
        variant="",
        digest="ZGlnZXN0",
        transaction_id="t1",
        received_us=1_000,
        authorization='Signature keyId="bap.buyer.example|k1|ed25519"',
        http_status=200,
        reply=b'{"message":{"ack":{"status":"ACK"}}}',
        code=None,
        body=b'{"context":{}}',
    )
    return replace(row, **changes)


def outbox_row(transaction_id: str = "t1", **changes: Any) -> OutboxRow:
    row = OutboxRow(
        peer=BAP,
        url="https://bap.buyer.example/bap/receiver/on_init",
        kind=MessageKind.CALLBACK,
        action="on_init",
        side=Side.BPP,
        transaction_id=transaction_id,
        message_id=f"m-{transaction_id}",
        body=b'{"context":{}}',
        created_ms=1,
        next_ms=1,
        expires_ms=None,
    )
    return replace(row, **changes)


def sent(row: OutboxRow) -> OutboxRow:
    return replace(row, state=OutboxState.SENT)


def trade(transaction_id: str = "t1", **changes: Any) -> Trade:
    sample = Trade(Side.BPP, transaction_id, Peer(BAP, "https://bap.buyer.example"), "draft")
    return replace(sample, **changes)


def leg(transaction_id: str = "t-leg") -> CascadeLeg:
    return CascadeLeg(
        operator=Peer(OPERATOR, "https://grid.operator.example"),
        transaction_id=transaction_id,
        order_id="o1",
        contract_id="c1",
        state=LegState.ANSWERED,
        request=OpenRequest("init", "m9", 5_000),
    )


def asked(message_id: str = "m1", **changes: Any) -> Asked:
    sample = Asked(
        message_id=message_id,
        action="init",
        side=Side.BPP,
        transaction_id="t1",
        peer=OPERATOR,
        deadline_ms=1_000,
    )
    return replace(sample, **changes)


def offer(offer_id: str = "o1", **changes: Any) -> Offer:
    sample = Offer(
        offer_id=offer_id,
        source_meter_id="MTR-S-1",
        source_type="SOLAR",
        currency="USD",
        price_micro_per_kwh=150_000,
        available_micro_kwh=10_000_000,
        published_micro_kwh=10_000_000,
        production_start_ms=0,
        production_end_ms=3_600_000,
        created_ms=1,
    )
    return replace(sample, **changes)

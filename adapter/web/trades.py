"""`/trades`: one call runs a whole purchase, or takes a curve into a market; reading trades.

Source: interfaces, section 3.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from adapter.bootstrap import Node
from adapter.domain.errors import WireError
from adapter.domain.instants import format_instant
from adapter.domain.parties import NodeRole
from adapter.domain.quantities import to_text
from adapter.domain.trade import Trade
from adapter.protocol.lifecycle import CONFIRMED_STATES
from adapter.service.queries import MAX_PAGE
from adapter.service.waiters import is_decided
from adapter.web.auth import Guard
from adapter.web.body import read_json_object
from adapter.web.curve_orders import CurveOrder
from adapter.web.ending import Ending
from adapter.web.errors import error_response, json_response, not_offered
from adapter.web.models import (
    Body,
    Instant,
    MeterId,
    Micro,
    OfferId,
    PositiveMicro,
    SourceType,
    SubscriberId,
    json_body,
    parse_model,
    refusals,
)

WAIT_S = 30
"""How long a purchase waits for its confirm unless told otherwise."""
MAX_WAIT_S = 300

_EXAMPLE = {
    "bpp_id": "bpp.seller.example",
    "target_meter_id": "meter-home-3",
    "quantity_kwh": "10",
    "start": "2026-03-02T08:15:00Z",
    "end": "2026-03-02T09:15:00Z",
    "max_price_per_kwh": "0.20",
}


class Purchase(Body):
    """What to buy: the node runs discover to confirm by itself."""

    bpp_id: SubscriberId = Field(description="The seller's platform.")
    target_meter_id: MeterId = Field(description="The buyer's meter.")
    quantity_kwh: PositiveMicro = Field(description="Energy in kWh.")
    start: Instant = Field(description="Begin of the delivery.")
    end: Instant = Field(description="End of the delivery.")
    offer_id: OfferId | None = Field(None, description="Absent: the cheapest offer that fits.")
    source_type: SourceType | None = None
    max_price_per_kwh: Micro | None = None

    @model_validator(mode="after")
    def _ends_after_start(self) -> "Purchase":
        if self.end <= self.start:
            msg = "end is not after start"
            raise ValueError(msg)
        return self

    def plan(self) -> dict[str, Any]:
        """Return the plan that the buyer's side follows; numbers as decimal strings."""
        plan: dict[str, Any] = {
            "bpp_id": self.bpp_id,
            "target_meter_id": self.target_meter_id,
            "quantity_kwh": to_text(self.quantity_kwh),
            "start": format_instant(self.start),
            "end": format_instant(self.end),
        }
        if self.offer_id is not None:
            plan["offer_id"] = self.offer_id
        if self.source_type is not None:
            plan["source_type"] = self.source_type
        if self.max_price_per_kwh is not None:
            plan["max_price_per_kwh"] = to_text(self.max_price_per_kwh)
        return plan


_SCHEMA: dict[str, Any] = {
    "type": "object",
    "oneOf": [body.model_json_schema() for body in (Purchase, CurveOrder)],
}


async def _read_wish(request: Request) -> Purchase | CurveOrder:
    """Return the body: one that names a curve, or a meter of its own, is a prosumer's.

    Raises:
        WireError: SCH_ codes.
    """
    content = await read_json_object(request.scope["headers"], request.receive)
    if {"offer_curve", "source_meter_id"}.isdisjoint(content):
        return parse_model(content, Purchase)
    return parse_model(content, CurveOrder)


class FlowModel(BaseModel):
    """One revenue flow of a contract; one that speaks of prosumers is there for each."""

    payer: str = Field(alias="from")
    payee: str = Field(alias="to")
    formula: str
    bound: bool
    amount: str | None = Field(None, description="Decimal string; absent while unbound.")
    currency: str | None = None
    party: str | None = Field(None, description="The prosumer it is about, by its clearing key.")


class TradeModel(BaseModel):
    """A trade as far as it is known."""

    model_config = ConfigDict(extra="allow")

    transaction_id: str
    contract_id: str | None
    status: str = Field(description="PENDING, ACTIVE, COMPLETED or TERMINATED.")
    contract: dict[str, Any] | None = Field(description="EnergyContractP2PTrade as on the wire.")
    flows: list[FlowModel] | None


class TradePage(BaseModel):
    """Trades, newest first."""

    trades: list[TradeModel]
    next: str | None = Field(description="Value of `before` for the next page; null at the end.")


class MessageModel(BaseModel):
    """One message of a trade, sent or received."""

    model_config = ConfigDict(extra="allow")

    direction: str
    action: str
    transaction_id: str
    message_id: str
    state: str
    signature: str | None
    code: str | None


class MessagePage(BaseModel):
    """The messages of a trade and of its leg towards the grid operator, in order of time."""

    messages: list[MessageModel]


def trades_router(node: Node, guard: Guard, ending: Ending) -> APIRouter:
    """Return the paths of `/trades`."""
    router = APIRouter(tags=["trades"], dependencies=[Depends(guard.application)])

    @router.post(
        "/trades",
        status_code=201,
        response_model=TradeModel,
        responses={
            202: {"model": TradeModel, "description": "Not confirmed yet; it goes on."},
            409: {"model": TradeModel, "description": "Refused by the network; with `error`."},
            **refusals(400, 401, 404, 503),
        },
        openapi_extra=json_body(_SCHEMA, _EXAMPLE),
    )
    async def buy(
        request: Request, wait: Annotated[int, Query(ge=0, le=MAX_WAIT_S)] = WAIT_S
    ) -> Response:
        """Buy energy, or bring a curve into a market: find, agree, confirm; give the contract."""
        if NodeRole.BAP not in node.parts.roles:
            msg = "this node is no buyer's platform (role bap)"
            raise not_offered(msg)
        plan = (await _read_wish(request)).plan()
        try:
            transaction_id = await node.originator.start_trade(plan)
        except WireError as error:
            return error_response(_before_the_network(error))
        waited = ending.unless(node.originator.wait_for_trade(transaction_id, wait))
        trade = await waited or (await node.queries.trade(transaction_id)).trade
        return json_response(_status_of(trade), node.queries.document(trade).to_wire())

    @router.get("/trades", response_model=TradePage, responses=refusals(400, 401))
    async def trades(
        before: Annotated[str | None, Query(max_length=128)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    ) -> Response:
        """List trades, newest first."""
        page = await node.queries.trades(before, limit)
        listed = [document.to_wire() for document in page]
        more = listed[-1]["transaction_id"] if len(listed) >= limit else None
        return json_response(200, {"trades": listed, "next": more})

    @router.get("/trades/{transaction_id}", response_model=TradeModel, responses=refusals(401, 404))
    async def trade(transaction_id: str) -> Response:
        """Return one trade, by its own transaction or that of its leg."""
        return json_response(200, (await node.queries.trade(transaction_id)).to_wire())

    @router.get(
        "/trades/{transaction_id}/messages",
        response_model=MessagePage,
        responses=refusals(401, 404),
    )
    async def messages(transaction_id: str) -> Response:
        """Return the messages of a trade, sent and received, in order of time."""
        me = node.parts.me.subscriber_id
        await node.outbound.write_back()
        listed = await node.queries.messages(transaction_id)
        named = [{**one, "from": one["from"] or me, "to": one["to"] or me} for one in listed]
        return json_response(200, {"messages": named})

    return router


def _status_of(trade: Trade) -> int:
    """Return 201 once confirmed, 409 when the network refused, 202 until one of both."""
    if trade.state in CONFIRMED_STATES:
        return 201
    return 409 if is_decided(trade) else 202


def _before_the_network(error: WireError) -> WireError:
    """Return a refusal of the first step; who is unknown to the registry is the buyer's input."""
    if error.code != "AUT_SUBSCRIBER_NOT_FOUND":
        return error
    cause = {"code": error.code, "message": error.message}
    return WireError("CTX_INVALID_FIELD", error.message, path="$.bpp_id", cause=cause)

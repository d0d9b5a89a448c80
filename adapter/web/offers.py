"""`/offers`: the catalogue of a seller's platform or a market. Source: interfaces, section 3."""

from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field, model_validator

from adapter.bootstrap import Node
from adapter.domain.errors import WireError
from adapter.domain.instants import EPOCH_MS, format_instant
from adapter.domain.market import FeeTreatment
from adapter.domain.offers import MOST_PARTICIPANTS, MarketPlace, Offer
from adapter.domain.parties import NodeRole
from adapter.domain.quantities import minor_digits, to_text
from adapter.web.auth import Guard
from adapter.web.body import read_json_object
from adapter.web.errors import json_response, not_offered
from adapter.web.models import (
    Body,
    Currency,
    Epoch,
    Instant,
    MeterId,
    Micro,
    OfferId,
    PositiveMicro,
    SourceType,
    json_body,
    parse_model,
    refusals,
)

_EXAMPLE = {
    "offer_id": "roof-7-march",
    "source_meter_id": "meter-roof-7",
    "source_type": "SOLAR",
    "available_kwh": "40",
    "price_per_kwh": "0.15",
    "currency": "USD",
    "production_start": "2026-03-02T08:00:00Z",
    "production_end": "2026-03-02T16:00:00Z",
}


class OfferBody(Body):
    """What every offer says, whatever its price."""

    offer_id: OfferId
    source_meter_id: MeterId
    source_type: SourceType
    available_kwh: PositiveMicro = Field(description="The stock in kWh.")
    minimum_kwh: PositiveMicro | None = Field(None, description="Least energy of one trade.")
    maximum_kwh: PositiveMicro | None = Field(None, description="Most energy of one trade.")
    valid_from: Instant | None = None
    valid_until: Instant | None = Field(None, description="Judged at select, init and confirm.")
    production_start: Instant
    production_end: Instant

    @model_validator(mode="after")
    def _in_order(self) -> "OfferBody":
        spans = (
            ("production_start", self.production_start, "production_end", self.production_end),
            ("valid_from", self.valid_from, "valid_until", self.valid_until),
        )
        for first, start, second, end in spans:
            if start is not None and end is not None and end <= start:
                msg = f"{second} is not after {first}"
                raise ValueError(msg)
        least, most = self.minimum_kwh, self.maximum_kwh
        if least is not None and most is not None and most < least:
            msg = "maximum_kwh is below minimum_kwh"
            raise ValueError(msg)
        return self

    def offer(self, now_ms: int) -> Offer:
        """Return the offer as the catalogue keeps it, without its price."""
        return Offer(
            offer_id=self.offer_id,
            source_meter_id=self.source_meter_id,
            source_type=self.source_type,
            currency="",
            price_micro_per_kwh=0,
            available_micro_kwh=self.available_kwh,
            published_micro_kwh=self.available_kwh,
            production_start_ms=self.production_start,
            production_end_ms=self.production_end,
            created_ms=now_ms,
            minimum_micro_kwh=self.minimum_kwh,
            maximum_micro_kwh=self.maximum_kwh,
            valid_from_ms=self.valid_from,
            valid_until_ms=self.valid_until,
        )


class FixedPriceOffer(OfferBody):
    """Energy from one meter at a fixed price, as long as the stock lasts."""

    price_per_kwh: PositiveMicro
    currency: Currency

    def offer(self, now_ms: int) -> Offer:
        """Return the offer as the catalogue keeps it."""
        price = self.price_per_kwh
        return replace(super().offer(now_ms), currency=self.currency, price_micro_per_kwh=price)


class TariffOffer(OfferBody):
    """Energy from one meter under a tariff, as long as the stock lasts."""

    tariff: dict[str, Any] = Field(description="Tariff of EnergyCoordination/v1, as on the wire.")
    currency: Currency | None = Field(None, description="The tariff's own, which is enough.")
    time_zone: str | None = Field(
        None,
        min_length=1,
        max_length=40,
        description="IANA name for the tariff's times of day; this node's own if left out.",
    )
    vat_treatment: Literal["EXCLUSIVE", "INCLUSIVE"] | None = Field(
        None, description="Whether VAT comes beside the tariff's price (if left out), or in it."
    )

    @model_validator(mode="after")
    def _has_one_currency(self) -> "TariffOffer":
        if self.currency not in (None, self.tariff.get("currency")):
            msg = "currency is not that of the tariff"
            raise ValueError(msg)
        return self

    def offer(self, now_ms: int) -> Offer:
        """Return the offer as the catalogue keeps it."""
        return replace(
            super().offer(now_ms),
            tariff=self.tariff,
            time_zone=self.time_zone,
            vat_treatment=self.vat_treatment,
        )


class MarketOffer(Body):
    """A market for one delivery window, in which prosumers trade at one clearing price."""

    offer_id: OfferId
    market_making_fee: Micro = Field(description="Per kWh, in the currency.")
    currency: Currency
    delivery_start: Epoch = Field(description="On the 15-minute grid of UTC.")
    delivery_end: Epoch
    gate_closure: Epoch | None = Field(
        None, description="When it clears; 15 minutes before the delivery, the latest, if left out."
    )
    fee_treatment: Literal["SYMMETRIC", "BUYER_ONLY"] = Field(
        "SYMMETRIC", description="Whether exports bear the fee as well."
    )
    maximum_participants: Annotated[int, Field(ge=2, le=MOST_PARTICIPANTS)] = MOST_PARTICIPANTS
    valid_from: Instant | None = Field(None, description="When it opens.")

    @model_validator(mode="after")
    def _in_order(self) -> "MarketOffer":
        if self.delivery_end <= self.delivery_start:
            msg = "delivery_end is not after delivery_start"
            raise ValueError(msg)
        if self.gate_ms > self.delivery_start - EPOCH_MS:
            msg = "gate_closure is later than 15 minutes before delivery_start"
            raise ValueError(msg)
        if self.valid_from is not None and self.valid_from >= self.gate_ms:
            msg = "valid_from is not before gate_closure"
            raise ValueError(msg)
        return self

    @property
    def gate_ms(self) -> int:
        """Return when the market closes."""
        latest_ms = self.delivery_start - EPOCH_MS
        return latest_ms if self.gate_closure is None else self.gate_closure

    def offer(self, now_ms: int) -> Offer:
        """Return the offer as the catalogue keeps it.

        Raises:
            WireError: SCH_INVALID_FORMAT, its gate is not ahead.
        """
        if self.gate_ms <= now_ms:
            msg = f"gate_closure {format_instant(self.gate_ms)} is not in the future"
            raise WireError("SCH_INVALID_FORMAT", msg, path="$.gate_closure")
        return Offer(
            offer_id=self.offer_id,
            source_meter_id="",
            source_type="",
            currency=self.currency,
            price_micro_per_kwh=0,
            available_micro_kwh=0,
            published_micro_kwh=0,
            production_start_ms=self.delivery_start,
            production_end_ms=self.delivery_end,
            created_ms=now_ms,
            valid_from_ms=self.valid_from,
            valid_until_ms=self.gate_ms,
            market=MarketPlace(
                self.gate_ms,
                self.market_making_fee,
                FeeTreatment(self.fee_treatment),
                self.maximum_participants,
            ),
        )


_SCHEMA: dict[str, Any] = {
    "type": "object",
    "oneOf": [body.model_json_schema() for body in (FixedPriceOffer, TariffOffer, MarketOffer)],
}


async def _read_offer(request: Request, roles: frozenset[NodeRole]) -> OfferBody | MarketOffer:
    """Return the body: one that names a fee is a market's, one that names a tariff a tariff's.

    Raises:
        WireError: SCH_ codes.
    """
    content = await read_json_object(request.scope["headers"], request.receive)
    if NodeRole.BPP not in roles or (NodeRole.MARKET in roles and "market_making_fee" in content):
        return parse_model(content, MarketOffer)
    return parse_model(content, TariffOffer if "tariff" in content else FixedPriceOffer)


class OfferModel(BaseModel):
    """An offer with what is left of it; numbers are decimal strings, times RFC 3339 in UTC."""

    offer_id: str
    source_meter_id: str | None = Field(None, description="Absent for a market, as what follows.")
    source_type: str | None = None
    available_kwh: str | None = Field(None, description="What is not yet taken by an init.")
    price_per_kwh: str | None = None
    currency: str
    tariff: dict[str, Any] | None = Field(None, description="As on the wire.")
    time_zone: str | None = None
    vat_treatment: str | None = None
    minimum_kwh: str | None = None
    maximum_kwh: str | None = None
    valid_from: str | None = None
    valid_until: str | None = None
    production_start: str | None = None
    production_end: str | None = None
    created: str
    market_making_fee: str | None = Field(None, description="Of a market, as what follows.")
    delivery_start: str | None = None
    delivery_end: str | None = None
    gate_closure: str | None = None
    fee_treatment: str | None = None
    maximum_participants: int | None = None


class OfferList(BaseModel):
    """All offers that are not withdrawn, oldest first."""

    offers: list[OfferModel]


def offers_router(node: Node, guard: Guard) -> APIRouter:
    """Return the paths of `/offers`."""

    def sellers_only() -> None:
        if not {NodeRole.BPP, NodeRole.MARKET} & node.parts.roles:
            msg = "this node is no seller's platform (role bpp) and no market (role market)"
            raise not_offered(msg)

    router = APIRouter(
        tags=["offers"], dependencies=[Depends(guard.application), Depends(sellers_only)]
    )

    @router.post(
        "/offers",
        status_code=201,
        response_model=OfferModel,
        responses=refusals(400, 401, 404, 409, 503),
        openapi_extra=json_body(_SCHEMA, _EXAMPLE),
    )
    async def publish(request: Request) -> Response:
        """Publish an offer; the same again changes nothing, another body for its id is refused."""
        wanted = await _read_offer(request, node.parts.roles)
        offer = await node.catalogue.publish(wanted.offer(node.parts.clock.now_ms()))
        return json_response(201, offer_to_wire(offer))

    @router.get("/offers", response_model=OfferList, responses=refusals(401, 404))
    async def offers() -> Response:
        """List all offers that are not withdrawn, oldest first."""
        listed = [offer_to_wire(offer) for offer in await node.catalogue.offers()]
        return json_response(200, {"offers": listed})

    @router.delete("/offers/{offer_id}", status_code=204, responses=refusals(401, 404))
    async def withdraw(offer_id: str) -> Response:
        """Take an offer off the catalogue; trades that took it up go on."""
        await node.catalogue.withdraw(offer_id)
        return Response(status_code=204)

    return router


def offer_to_wire(offer: Offer) -> dict[str, Any]:
    """Return an offer as our own interface shows it, without what it leaves open."""
    if offer.market is not None:
        return _market_to_wire(offer, offer.market)
    shown: dict[str, Any] = {
        "offer_id": offer.offer_id,
        "source_meter_id": offer.source_meter_id,
        "source_type": offer.source_type,
        "available_kwh": to_text(offer.available_micro_kwh),
        "price_per_kwh": _price(offer),
        "currency": offer.currency,
        "tariff": offer.tariff,
        "time_zone": offer.time_zone,
        "vat_treatment": offer.vat_treatment,
        "minimum_kwh": _text(offer.minimum_micro_kwh),
        "maximum_kwh": _text(offer.maximum_micro_kwh),
        "valid_from": _instant(offer.valid_from_ms),
        "valid_until": _instant(offer.valid_until_ms),
        "production_start": format_instant(offer.production_start_ms),
        "production_end": format_instant(offer.production_end_ms),
        "created": format_instant(offer.created_ms),
    }
    return {name: value for name, value in shown.items() if value is not None}


def _market_to_wire(offer: Offer, place: MarketPlace) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "offer_id": offer.offer_id,
        "market_making_fee": to_text(place.fee_micro_per_kwh, minor_digits(offer.currency)),
        "currency": offer.currency,
        "delivery_start": format_instant(offer.production_start_ms),
        "delivery_end": format_instant(offer.production_end_ms),
        "gate_closure": format_instant(place.gate_ms),
        "fee_treatment": place.fee_treatment.value,
        "maximum_participants": place.most_participants,
        "valid_from": _instant(offer.valid_from_ms),
        "created": format_instant(offer.created_ms),
    }
    return {name: value for name, value in shown.items() if value is not None}


def _price(offer: Offer) -> str | None:
    if offer.tariff is not None:
        return None
    return to_text(offer.price_micro_per_kwh, minor_digits(offer.currency))


def _text(micro: int | None) -> str | None:
    return None if micro is None else to_text(micro)


def _instant(instant_ms: int | None) -> str | None:
    return None if instant_ms is None else format_instant(instant_ms)

"""What a prosumer brings into a market with `POST /trades`: meter, window and offer curve.

Source: interfaces, section 3; contract specification, section 10 and rules 63 to 66.
"""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema, model_validator

from adapter.domain.curves import faults
from adapter.domain.errors import WireError
from adapter.domain.findings import Finding, Path
from adapter.domain.instants import format_instant
from adapter.domain.quantities import to_text
from adapter.protocol.coordination import read_curve
from adapter.protocol.orders import exact
from adapter.protocol.rules.curves import fault_finding
from adapter.web.models import (
    NUMBER_SCHEMA,
    SIGNED_NUMBER_SCHEMA,
    Body,
    Currency,
    Instant,
    MeterId,
    Micro,
    OfferId,
    ProsumerSource,
    SignedMicro,
    SubscriberId,
)

MOST_POINTS = 1_000
"""Some 40 kB: an init has to stay below 256 KiB. A market may take less."""

EXAMPLE = {
    "bpp_id": "market.example",
    "source_meter_id": "meter-home-3",
    "source_type": "CONSUMER",
    "offer_curve": {
        "currency": "USD",
        "minExport": -50,
        "maxExport": 0,
        "curve": [{"price": "0.06", "powerKW": -50}, {"price": "0.07", "powerKW": 0}],
    },
    "start": "2026-03-02T09:00:00Z",
    "end": "2026-03-02T10:00:00Z",
}
_POINT_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["price", "powerKW"],
    "properties": {"price": NUMBER_SCHEMA, "powerKW": SIGNED_NUMBER_SCHEMA},
}
_CURVE_SCHEMA = {
    "type": "object",
    "description": "Power over price: + export, - withdrawal; neither falls along the curve.",
    "additionalProperties": False,
    "required": ["currency", "minExport", "maxExport", "curve"],
    "properties": {
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "minExport": SIGNED_NUMBER_SCHEMA,
        "maxExport": SIGNED_NUMBER_SCHEMA,
        "curve": {
            "type": "array",
            "minItems": 1,
            "maxItems": MOST_POINTS,
            "items": _POINT_SCHEMA,
        },
    },
}


class PointBody(Body):
    """Power from a price on."""

    price: Micro
    power: SignedMicro = Field(alias="powerKW")


class CurveBody(Body):
    """OfferCurve of EnergyCoordination/v1."""

    currency: Currency
    least: SignedMicro = Field(alias="minExport")
    most: SignedMicro = Field(alias="maxExport")
    curve: Annotated[list[PointBody], Field(min_length=1, max_length=MOST_POINTS)]

    def to_wire(self) -> dict[str, Any]:
        """Return the curve as on the wire, with exact numbers."""
        return {
            "currency": self.currency,
            "minExport": exact(self.least),
            "maxExport": exact(self.most),
            "curve": [{"price": exact(p.price), "powerKW": exact(p.power)} for p in self.curve],
        }


class CurveOrder(Body):
    """A prosumer's offer to a market: the node runs discover to confirm by itself."""

    bpp_id: SubscriberId = Field(description="The market.")
    source_meter_id: MeterId = Field(description="The prosumer's meter.")
    source_type: ProsumerSource
    offer_curve: Annotated[CurveBody, WithJsonSchema(_CURVE_SCHEMA)]
    start: Instant = Field(description="Begin of the market's delivery window.")
    end: Instant = Field(description="End of the market's delivery window.")
    offer_id: OfferId | None = Field(None, description="Absent: the open market of that window.")
    max_market_making_fee: Micro | None = Field(
        None, description="Per kWh, in the curve's currency. Absent: whatever the market takes."
    )

    @model_validator(mode="after")
    def _ends_after_start(self) -> "CurveOrder":
        if self.end <= self.start:
            msg = "end is not after start"
            raise ValueError(msg)
        return self

    def plan(self) -> dict[str, Any]:
        """Return the plan that the prosumer's side follows.

        Raises:
            WireError: SCH_ATTRIBUTE_PACK_INVALID, the curve breaks a P2P_CURVE_ rule.
        """
        curve = self.offer_curve.to_wire()
        found = tuple(_broken(curve))
        if found:
            first = found[0]
            raise WireError(str(first.wire_code), first.message, path=first.path, findings=found)
        plan: dict[str, Any] = {
            "bpp_id": self.bpp_id,
            "source_meter_id": self.source_meter_id,
            "source_type": self.source_type,
            "offer_curve": curve,
            "start": format_instant(self.start),
            "end": format_instant(self.end),
        }
        if self.offer_id is not None:
            plan["offer_id"] = self.offer_id
        if self.max_market_making_fee is not None:
            plan["max_market_making_fee"] = to_text(self.max_market_making_fee)
        return plan


def _broken(curve: dict[str, Any]) -> Iterator[Finding]:
    """Give the rules that make the curve unfit for clearing, in their order."""
    place: Path = ("offer_curve",)
    for fault in faults(read_curve(curve)):
        yield fault_finding(fault, place)

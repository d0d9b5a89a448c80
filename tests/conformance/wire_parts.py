"""Parts that the example messages of every mode are made of, draft dialect."""

from collections.abc import Iterable
from decimal import Decimal
from itertools import pairwise
from typing import Any

Part = dict[str, Any]

DAY = "2026-03-02T"
_SCHEMAS = (
    "https://raw.githubusercontent.com/beckn/protocol-specifications-new/refs/heads/draft/schema"
)
CORE = f"{_SCHEMAS}/core/v2/context.jsonld"
CONTRACT = f"{_SCHEMAS}/EnergyContractP2PTrade/v1/context.jsonld"
OFFER = f"{_SCHEMAS}/EnergyOffer/v1/context.jsonld"
RESOURCE = f"{_SCHEMAS}/EnergyResource/v0.2/context.jsonld"
DELIVERY = f"{_SCHEMAS}/EnergyTradeDelivery/v0.2/context.jsonld"
REQUEST_TTL, CALLBACK_TTL = "PT30S", "PT60M"


def d(text: str) -> Decimal:
    """Return an exact number."""
    return Decimal(text)


def uid(group: int, number: int) -> str:
    """Return a fixed id."""
    return f"{group:08}-0000-4000-8000-{number:012}"


class Leg:
    """One transaction between two platforms; numbers its messages."""

    def __init__(self, group: int, bap: str, bpp: str) -> None:
        """Take the number of the transaction and who talks."""
        self.group = group
        self._parties = {
            "bap_id": bap,
            "bap_uri": f"https://{bap}/bap/receiver",
            "bpp_id": bpp,
            "bpp_uri": f"https://{bpp}/bpp/receiver",
        }
        self._number = 1

    def say(self, action: str, time: str, message: Part) -> Part:
        """Return a message; a callback carries the id of the request before it."""
        if not action.startswith("on_"):
            self._number += 1
        return {
            "context": {
                "version": "2.0.0",
                "domain": "energy-trade",
                "transaction_id": uid(self.group, 1),
                **self._parties,
                "action": action,
                "message_id": uid(self.group, self._number),
                "timestamp": f"{DAY}{time}Z",
                "ttl": CALLBACK_TTL if action.startswith("on_") else REQUEST_TTL,
            },
            "message": message,
        }

    def push(self, time: str, order: Part) -> Part:
        """Return an on_status that nobody asked for."""
        self._number += 1
        return self.say("on_status", time, {"order": order})


def role(name: str, platform: str | None, **inputs: Any) -> Part:
    """Return a role, open when no platform fills it."""
    return {
        "role": name,
        "filledBy": platform,
        "filled": platform is not None,
        "roleInputs": inputs,
    }


def contract(
    contract_id: str, status: str, roles: Iterable[Part], parameters: Part, flows: list[Part]
) -> Part:
    """Return an EnergyContractP2PTrade."""
    return {
        "@context": CONTRACT,
        "@type": "EnergyContractP2PTrade",
        "contractId": contract_id,
        "status": status,
        "createdAt": f"{DAY}07:30:00Z",
        "roles": list(roles),
        "inputParameters": parameters,
        "inputSignals": [],
        "telemetrySources": [],
        "revenueFlows": {"flows": flows, "netZero": True},
        "qualityMetrics": {"metrics": []},
    }


def flow(payer: str, payee: str, formula: str) -> Part:
    """Return a revenue flow."""
    return {"from": payer, "to": payee, "formula": formula}


def price(amount: str, currency: str) -> Part:
    """Return a price."""
    return {
        "@type": "schema:PriceSpecification",
        "schema:price": d(amount),
        "schema:priceCurrency": currency,
    }


def quote(total: str, currency: str, *parts: tuple[str, str]) -> Part:
    """Return a quote of titled parts."""
    return {
        "@type": "beckn:Quotation",
        "beckn:price": price(total, currency),
        "beckn:breakup": [
            {"@type": "beckn:Breakup", "beckn:title": title, "beckn:price": price(amount, currency)}
            for title, amount in parts
        ],
    }


def stop(kind: str, meter: str, start: str, end: str) -> Part:
    """Return a stop at a meter during a window of the day."""
    return {
        "@type": "beckn:Stop",
        "beckn:id": f"stop-{kind.lower()}",
        "beckn:type": kind,
        "beckn:location": {"@type": "beckn:Location", "beckn:address": meter},
        "beckn:time": {
            "@type": "beckn:Time",
            "beckn:range": {"start": f"{DAY}{start}:00Z", "end": f"{DAY}{end}:00Z"},
        },
    }


def fulfillment(identity: str, stops: list[Part], delivery: Part | None = None) -> Part:
    """Return a fulfilment, with the state of its delivery once there is one."""
    found: Part = {
        "@type": "beckn:Fulfillment",
        "beckn:id": identity,
        "beckn:type": "ENERGY_DELIVERY",
        "beckn:stops": stops,
    }
    if delivery is not None:
        descriptor = {"@type": "beckn:Descriptor", "schema:name": delivery["deliveryStatus"]}
        found["beckn:state"] = {"@type": "beckn:State", "beckn:descriptor": descriptor}
        found["beckn:attributes"] = delivery
    return found


def delivery(
    readings: list[tuple[str, str]], updated: str, window: tuple[str, str], cycle: Part | None
) -> Part:
    """Return a delivery with its registers; with a settled cycle it is completed.

    Args:
        readings: time of day and register in kWh, the first at zero.
        updated: time of day.
        window: start and end, times of day.
        cycle: amount, currency and breakdown.
    """
    registers = [(f"{DAY}{time}:00Z", d(kwh)) for time, kwh in readings]
    risen = [after - before for (_, before), (_, after) in pairwise(registers)]
    found: Part = {
        "@context": DELIVERY,
        "@type": "EnergyTradeDelivery",
        "deliveryStatus": "IN_PROGRESS" if cycle is None else "COMPLETED",
        "deliveryMode": "GRID_INJECTION",
        "deliveredQuantity": registers[-1][1],
        "deliveryStartTime": f"{DAY}{window[0]}:00Z",
        "deliveryEndTime": None if cycle is None else f"{DAY}{window[1]}:00Z",
        "meterReadings": [
            {"timestamp": time, "sourceReading": kwh, "targetReading": kwh, "energyFlow": rise}
            for (time, kwh), rise in zip(registers, [d("0"), *risen], strict=True)
        ],
        "telemetry": [],
        "lastUpdated": f"{DAY}{updated}Z",
    }
    if cycle is not None:
        found["settlementCycleId"] = "cycle-1"
        found["settlementCycles"] = [
            {
                "cycleId": "cycle-1",
                "startTime": f"{DAY}{window[0]}:00Z",
                "endTime": f"{DAY}{window[1]}:00Z",
                "status": "SETTLED",
                **cycle,
            }
        ]
    return found


def payment(identity: str, status: str) -> Part:
    """Return a payment on fulfilment."""
    return {
        "@type": "beckn:Payment",
        "beckn:id": identity,
        "beckn:type": "ON-FULFILLMENT",
        "beckn:status": status,
        "beckn:collected_by": "BPP",
    }


def billing(name: str) -> Part:
    """Return who is billed."""
    return {"@type": "beckn:Billing", "beckn:name": name}


def catalog(bpp: str, items: list[Part], offer: Part) -> Part:
    """Return the body of on_discover with one offer; a market's catalogue has no items."""
    found: Part = {
        "@context": CORE,
        "@type": "beckn:Catalog",
        "beckn:id": f"catalog-{bpp}",
        "beckn:descriptor": {
            "@type": "beckn:Descriptor",
            "schema:name": f"Energy offers of {bpp}",
        },
    }
    if items:
        found["beckn:items"] = items
    found["beckn:offers"] = [{"@context": CORE, "@type": "beckn:Offer", **offer}]
    return {"catalogs": [found]}


def offer_attributes(offer_id: str, bpp: str, open_role: str, terms: Part) -> Part:
    """Return an EnergyOffer."""
    return {
        "@context": OFFER,
        "@type": "EnergyOffer",
        "offerId": offer_id,
        "contractId": terms["contractId"],
        "providerId": bpp,
        "providerUri": f"https://{bpp}/bpp/receiver",
        "openRole": open_role,
        "contract": terms,
    }

"""Our fixed-price trade again, in the lts dialect.

Run `python -m tests.conformance.make_lts_examples` to write `examples/lts` anew from
`examples/p2p_trading`. The mapping is that of the protocol specification, section 4.2.
"""

import uuid
from typing import Any

from adapter.protocol import strict_json
from tests.conformance.make_examples import FOLDER, pretty

LTS = FOLDER.parent / "lts"
CONTEXT_KEYS = {
    "transaction_id": "transactionId",
    "message_id": "messageId",
    "bap_id": "bapId",
    "bap_uri": "bapUri",
    "bpp_id": "bppId",
    "bpp_uri": "bppUri",
}
CODES = {"PENDING": "DRAFT", "ACTIVE": "ACTIVE", "COMPLETED": "COMPLETE"}
CORE = (
    "https://raw.githubusercontent.com/beckn/protocol-specifications-new/refs/heads/draft"
    "/schema/core/v2/context.jsonld"
)

Part = dict[str, Any]


def files() -> dict[str, bytes]:
    """Return the files by name, formatted for people."""
    drafts = {path.name: path.read_bytes() for path in sorted(FOLDER.glob("*.json"))}
    return {name: pretty(message(strict_json.decode_object(raw))) for name, raw in drafts.items()}


def message(draft: Part) -> Part:
    """Return a draft message in the lts dialect."""
    context = {CONTEXT_KEYS.get(key, key): value for key, value in draft["context"].items()}
    return {"context": context, "message": _content(draft["message"], context)}


def _content(body: Part, context: Part) -> Part:
    if "order" in body:
        return {"contract": _contract(body["order"], context)}
    if "catalogs" in body:
        return {"catalogs": [_catalog(catalog) for catalog in body["catalogs"]]}
    names = {"text_search": "textSearch"}
    return {"intent": {names.get(key, key): value for key, value in body.items()}}


def _contract(order: Part, context: Part) -> Part:
    terms = order.get("beckn:orderAttributes")
    contract_id = terms["contractId"] if terms else order["beckn:id"]
    code = CODES[terms["status"]] if terms else "ACTIVE"
    made: Part = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{context['bppId']}/{contract_id}")),
        "status": {"code": code},
        "commitments": _commitments(order, code),
    }
    if terms is None:
        return made
    made["participants"] = [
        {"id": role["filledBy"], "descriptor": {"code": role["role"]}}
        for role in terms["roles"]
        if role["filled"]
    ]
    if "beckn:quote" in order:
        price = order["beckn:quote"]["beckn:price"]
        made["consideration"] = [
            {
                "id": "total",
                "status": {"code": code},
                "considerationAttributes": {
                    "@context": CORE,
                    "@type": "PriceSpecification",
                    "currency": price["schema:priceCurrency"],
                    "value": price["schema:price"],
                },
            }
        ]
        made["settlements"] = [{"id": "s1", "considerationId": "total", "status": "DRAFT"}]
    made["performance"] = [
        {
            "id": fulfillment["beckn:id"],
            "commitmentIds": ["c1"],
            "performanceAttributes": fulfillment["beckn:attributes"],
        }
        for fulfillment in order.get("beckn:fulfillments", ())
        if "beckn:attributes" in fulfillment
    ]
    return {key: value for key, value in made.items() if value} | {"contractAttributes": terms}


def _commitments(order: Part, code: str) -> list[Part]:
    items = order.get("beckn:items") or [{"beckn:id": "item-offer-roof-7"}]
    offers = order.get("beckn:offers") or [{"beckn:id": "offer-roof-7"}]
    resources = [_line(item) for item in items]
    return [
        {
            "id": "c1",
            "status": {"descriptor": {"code": code}},
            "resources": resources,
            "offer": {
                "id": offers[0]["beckn:id"],
                "resourceIds": [resource["id"] for resource in resources],
            },
        }
    ]


def _line(item: Part) -> Part:
    quantity = item.get("quantity")
    line: Part = {"id": item["beckn:id"]}
    if quantity is not None:
        line["quantity"] = {"unitQuantity": quantity["count"], "unitCode": "KWH"}
    return line


def _catalog(catalog: Part) -> Part:
    return {
        "id": catalog["beckn:id"],
        "descriptor": {"name": catalog["beckn:descriptor"]["schema:name"]},
        "resources": [
            {"id": item["beckn:id"], "resourceAttributes": item["beckn:itemAttributes"]}
            for item in catalog["beckn:items"]
        ],
        "offers": [
            {
                "id": offer["beckn:id"],
                "resourceIds": offer["beckn:items"],
                "offerAttributes": offer["beckn:offerAttributes"],
            }
            for offer in catalog["beckn:offers"]
        ],
    }


def main() -> None:
    """Write the files."""
    LTS.mkdir(exist_ok=True)
    for name, content in files().items():
        (LTS / name).write_bytes(content)


if __name__ == "__main__":
    main()

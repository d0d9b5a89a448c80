"""Random walks through parts, disputes and corrections of agreements under tariffs.

Besides what holds for every agreement: no leg is ever taken back, what was paid never exceeds what
the energy paid for costs at most, and in whatever order parts are settled the cash held suffices.
"""

from contextlib import suppress
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from adapter.domain.errors import ContractError
from adapter.domain.quantities import to_text
from adapter.settlement.agreed_tariff import agreed, cash_needed
from adapter.settlement.agreement_rows import Agreement, Transaction, TransactionState
from adapter.settlement.units import legs
from tests.unit.settlement.test_dispute_walks import MOVES, STEPS, Walk

ZONES = ("UTC", "Europe/Paris", "Asia/Kolkata")
EDGES = ("13:00", "13:22", "13:30", "14:00", "17:30", "18:00", "18:45")
"""Around the window, which begins at 12:15Z, in one of the zones."""


def any_tariff(dice: Random) -> dict[str, Any]:
    """Return a tariff with a price for everything, and with whatever makes it awkward."""

    def price() -> dict[str, Any]:
        amount = Decimal(dice.choice((10_000, 333_333, 1_000_000))).scaleb(-6)
        vat, step = dice.choice((0, 7, 20)), dice.choice((1, 1, 100, 2_500))
        return {"type": "ENERGY", "price": amount, "vat": vat, "stepSize": step}

    elements: list[dict[str, Any]] = []
    for _ in range(dice.randrange(3)):
        start, end = dice.sample(EDGES, 2)
        limits: dict[str, Any] = {"startTime": start, "endTime": end}
        if dice.random() < 0.5:
            limits |= {"minKWh": dice.choice((0, 1)), "maxKWh": dice.choice((2, 4))}
        elements.append({"priceComponents": [price()], "restrictions": limits})
    last = [price()]
    if dice.random() < 0.3:
        last.append({"type": "TIME", "price": Decimal("0.2"), "vat": 7, "stepSize": 3_600})
    if dice.random() < 0.3:
        last.append({"type": "FLAT", "price": Decimal("0.5"), "vat": 20})
    bounds = {}
    if dice.random() < 0.4:
        bounds["minPrice"] = {"exclVat": Decimal("0.05")}
    if dice.random() < 0.4:
        bounds["maxPrice"] = {"exclVat": Decimal("0.4")}
    return {"currency": "USD", "elements": [*elements, {"priceComponents": last}], **bounds}


class TariffWalk(Walk):
    """A market whose agreements are under tariffs."""

    def agree(self) -> None:
        first = self.dice.choice((0, 0, 1, 2))
        last = self.dice.randrange(first + 2, 9)
        args = self.world.terms(
            f"k-{self.count(Agreement) + 1}",
            energy_amount_kwh=self.dice.choice(("1", "2.5", "7.000001", "3.333333")),
            window={"start": self.quarter(first), "end": self.quarter(last)},
            tariff=any_tariff(self.dice),
            time_zone=self.dice.choice(ZONES),
            vat_treatment=self.dice.choice(("EXCLUSIVE", "INCLUSIVE")),
        )
        del args["price_per_kwh"]
        receipt = self.world.do("agreements.create_agreement", "bpp", "bob", **args)
        self.world.accept(int(receipt.result["agreement_no"]))

    def check_agreement(self, agreement: Agreement) -> None:
        found = self.world.ledger.find(Transaction, "agreement", agreement.key)
        parts = [part for part in found if part.state is TransactionState.SETTLED]
        paid = agreement.settled.paid
        assert min((*(part.value for part in parts), *(part.vat for part in parts), 0)) == 0
        assert sum(part.value for part in parts) == paid.value
        assert sum(part.vat for part in parts) == paid.vat
        quantity = sum(part.settle_quantity for part in parts)
        assert quantity == agreement.settled.quantity <= agreement.terms.energy
        rates = agreement.terms.rates
        assert paid.wheeling == legs(quantity, rates).wheeling
        most = sum(cash_needed(agreement.terms, quantity).values())
        assert paid.buyer_debit <= most, to_text(quantity)
        if agreed(agreement.terms.tariff).terms.vat == "INCLUSIVE":
            assert paid.vat == 0


@pytest.mark.parametrize("seed", range(30))
def test_a_walk_under_tariffs_keeps_the_books(seed: int) -> None:
    walk = TariffWalk(seed)
    for _ in range(3):
        walk.agree()
    walk.world.now = walk.quarter(4)
    moves, weights = zip(*MOVES, strict=True)
    for move in walk.dice.choices(moves, weights, k=STEPS):
        with suppress(ContractError):
            move(walk)
        walk.check()
    walk.finish()

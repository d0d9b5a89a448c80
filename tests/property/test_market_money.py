"""Random markets from curves to payment: nothing is lost, the market keeps no energy.

A market is cleared as on the wire, put on a ledger as its operator does, read over or under by each
meter, and settled. Everybody's change is then compared with the contract's own formulas.
"""

import os
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adapter.domain.curves import CurvePoint, OfferCurve
from adapter.domain.instants import DeliveryInterval
from adapter.domain.market import FeeTreatment, cleared_energies
from adapter.domain.quantities import Energy, to_decimal, to_text
from adapter.settlement import verify
from adapter.settlement.accounts import main, wheeling
from adapter.settlement.curve_clearing import clear_curves
from adapter.store.ledger_memory import MemoryLedger
from tests.unit.settlement.bazaar import MARKET, Bazaar
from tests.unit.settlement.world import EPOCH, settled_with

EXAMPLES = int(os.environ.get("MARKET_EXAMPLES", "100"))
WHEELING = 3_000
CASH = 1_000_000_000
"""What everybody who pays has at first."""


class Offer(NamedTuple):
    """One prosumer of a random market."""

    curve: OfferCurve
    metered_percent: int
    """Of what it cleared, spread evenly; -1: its meter is never read."""


@st.composite
def offers(draw: st.DrawFn, *, exports: bool) -> Offer:
    """Return a curve of two or three points within one direction."""
    prices = sorted(draw(st.lists(st.integers(10_000, 200_000), min_size=2, max_size=3)))
    most = draw(st.integers(1, 9_000_000))
    middle = draw(st.integers(0, most))
    ends = [0, most] if len(prices) == 2 else [0, middle, most]
    kw = ends if exports else [power - most for power in ends]
    points = tuple(
        CurvePoint(to_decimal(price), to_decimal(power))
        for price, power in zip(prices, kw, strict=True)
    )
    curve = OfferCurve("USD", points[0].power_kw, points[-1].power_kw, points)
    percent = st.one_of(st.sampled_from([100, 100, 0, -1]), st.integers(0, 150))
    return Offer(curve, draw(percent))


@st.composite
def books(draw: st.DrawFn) -> dict[str, Offer]:
    """Return two to six prosumers, at least one on each side."""
    sellers = draw(st.lists(offers(exports=True), min_size=1, max_size=3))
    buyers = draw(st.lists(offers(exports=False), min_size=1, max_size=3))
    named = [(f"s{i}", offer) for i, offer in enumerate(sellers)]
    return dict(named + [(f"b{i}", offer) for i, offer in enumerate(buyers)])


@pytest.mark.timeout(600)  # for many examples; the usual ones take seconds
@given(
    book=books(),
    quarters=st.integers(1, 4),
    fee=st.integers(0, 10_000),
    treatment=st.sampled_from(FeeTreatment),
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_market_keeps_the_books(
    book: dict[str, Offer], quarters: int, fee: int, treatment: FeeTreatment
) -> None:
    cleared = clear_curves({user: offer.curve for user, offer in book.items()})
    price = cleared.price_micro
    assume(price is not None and price > 0)
    assert price is not None
    world = Bazaar(quarters=quarters).set_up(settled_with(wheeling_rate=to_decimal(WHEELING)))
    window = DeliveryInterval(world.start, world.end)
    energies = {
        user: energy
        for user, energy in cleared_energies(cleared.power_micro_kw, window).items()
        if energy.micro_kwh
    }
    assume(energies)
    for user, energy in energies.items():
        world.take_part(user, exports=user.startswith("s"))
        terms = {"market_making_fee": to_decimal(fee), "fee_treatment": treatment.value}
        world.agree(user, energy.kwh, to_decimal(price), **terms)
    _read(world, book, energies)
    world.now = world.end + 86_400_001
    world.tick()
    _check(world, energies, Fraction(price), Fraction(fee), treatment)
    scratch = MemoryLedger()
    assert verify(world.ledger.entries(-1, 10_000), scratch, world.ledger).ok


def _read(world: Bazaar, book: dict[str, Offer], energies: dict[str, Energy]) -> None:
    """Submit what each meter counted, more or less than it cleared."""
    world.now = world.end
    for user, energy in energies.items():
        percent = book[user].metered_percent
        if percent < 0:
            continue
        each, rest = divmod(energy.micro_kwh * percent // 100, world.quarters)
        side = "generated" if user in world.exports else "consumed"
        for i, start in enumerate(range(world.start, world.end, EPOCH)):
            world.submit(f"m-{user}", start, **{side: to_text(each + (i < rest))})


def _check(
    world: Bazaar,
    energies: dict[str, Energy],
    price: Fraction,
    fee: Fraction,
    treatment: FeeTreatment,
) -> None:
    settled = {view.terms.provider: view for view in world.shares()} | {
        view.terms.consumer: view for view in world.shares()
    }
    own = 0 if treatment is FeeTreatment.BUYER_ONLY else fee
    changes, paid_in, paid_out, earned = 0, 0, 0, 0
    for user, energy in energies.items():
        view = settled[user]
        exports = user in world.exports
        change = world.posted(user, "USD") - (0 if exports else CASH)
        assert world.available(user, "USD") == world.posted(user, "USD")
        changes += change
        if view.state == "EXPIRED":
            assert change == 0
            continue
        (part,) = view.transactions
        due = (price - own) * energy.micro_kwh if exports else -(price + fee) * energy.micro_kwh
        # a leg is rounded by itself: half a unit each, of which a withdrawal has two
        assert abs(change - due / 1_000_000) <= 1
        paid_in, paid_out = paid_in + part.value * (not exports), paid_out + part.value * exports
        earned += part.buyer_fee + part.seller_fee - part.wheeling
    market = world.on_account(main(MARKET, "USD")) - CASH
    assert market == earned + paid_in - paid_out
    assert changes + market + world.on_account(wheeling("grid", "USD")) == 0
    assert world.available(MARKET, "USD") == world.posted(MARKET, "USD")
    _check_energy(world, energies)


def _check_energy(world: Bazaar, energies: dict[str, Energy]) -> None:
    """All GRID is somewhere, free, and with the market only what nobody was there to take."""
    users = (*energies, MARKET)
    supply = Decimal(world.read("token.total_supply"))
    assert sum(world.posted(user, "GRID") for user in users) == int(supply * 1_000_000)
    assert all(world.posted(user, "GRID") == world.available(user, "GRID") for user in users)
    views = world.shares()
    moved = {True: 0, False: 0}
    for view in views:
        moved[view.terms.is_withdrawal] += sum(part.energy for part in view.transactions)
    assert world.posted(MARKET, "GRID") == moved[False] - moved[True]
    takers = [v for v in views if v.terms.is_withdrawal and v.state == "SETTLED"]
    most = sum(view.terms.energy for view in takers)
    assert moved[True] == min(moved[False], most)
    for view in takers:
        assert sum(part.energy for part in view.transactions) <= view.terms.energy

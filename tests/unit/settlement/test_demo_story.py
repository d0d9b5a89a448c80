"""The whole trade of `make demo`, with the numbers of interfaces.md section 2.3."""

import pytest

from adapter.settlement import (
    AgreementState,
    LedgerStore,
    TransactionState,
    agreement_view,
    verify,
)
from adapter.store.ledger_memory import MemoryLedger
from tests.unit.settlement.world import EPOCH, Market, events_of, sqlite_ledger


@pytest.mark.parametrize("ledger", [MemoryLedger(), sqlite_ledger()], ids=["memory", "sqlite"])
def test_the_demo_ends_with_the_promised_balances(ledger: LedgerStore) -> None:
    world = Market(ledger).set_up()
    number = world.propose()
    view = agreement_view(ledger, "bpp", "k-1", world.now)
    assert view is not None
    assert (view.agreement_no, view.state) == (number, AgreementState.PROPOSED)
    assert (view.buyer_cap.cap, view.buyer_cap.total) == (50_000_000, 0)
    assert (view.seller_cap.cap, view.seller_cap.total) == (100_000_000, 0)
    assert view.terms.wheeling_rate == 25_000
    # Until accepted the caps are reserved: 10 of 50 and of 100, and no cash is held.
    assert world.read("registry.get_trade_caps", meter_id="m-buy")["BUY"]["reserved"] == "10"
    assert world.available("alice", "USD") == 20_000_000

    world.accept(number)
    # 10 × 0.15 + 10 × 0.025 = 1.75 are held, 18.25 are free; the mandate fell to 18.25 too.
    assert world.available("alice", "USD") == 18_250_000
    assert world.read("token.allowance", owner="alice", spender="network", asset="USD") == "18.25"
    caps = world.read("registry.get_trade_caps", meter_id="m-sell")["SELL"]
    assert (caps["total"], caps["reserved"], caps["room"]) == ("10", "0", "90")

    world.deliver(generated=10, consumed=10)
    view = agreement_view(ledger, "bpp", "k-1", world.now)
    assert view is not None
    assert [(part.start_ms, part.seller, part.buyer) for part in view.allocations] == [
        (world.start + i * EPOCH, 2_500_000, 2_500_000) for i in range(4)
    ]
    # All of bob's 10 GRID are held for the agreement.
    assert (world.posted("bob", "GRID"), world.available("bob", "GRID")) == (10_000_000, 0)

    done = world.tick()
    assert [receipt.command_id for receipt in done] == [
        "timer:record:1:1767269700000",
        "timer:settle:1",
    ]
    (settled,) = events_of(done, "PaymentSettled")
    assert settled.fields["contract_id"] == "k-1"
    assert settled.fields["value"] == 1_500_000
    assert settled.fields["wheeling"] == 250_000
    assert settled.fields["released"] == 0
    assert settled.fields["deviations"] == []

    # Every change of a GRID balance says so.
    (moved,) = events_of(done, "Transfer")
    assert moved.fields == {"from": "bob", "to": "alice", "amount": 10_000_000}

    # Buyer 20.00 − 1.50 − 0.25 = 18.25 and 10 GRID, seller 1.50, grid operator 0.25.
    assert (world.available("alice", "USD"), world.available("alice", "GRID")) == (
        18_250_000,
        10_000_000,
    )
    assert (world.available("bob", "USD"), world.available("bob", "GRID")) == (1_500_000, 0)
    assert world.posted("grid", "USD") == 250_000
    assert world.read("token.balance_of", user="alice", asset="USD")["available"] == "18.25"
    assert world.read("token.balance_of", user="grid", asset="USD")["posted"] == "0.25"
    assert world.read("registry.get_trade_caps", meter_id="m-buy")["BUY"]["total"] == "0"

    view = agreement_view(ledger, "bpp", "k-1", world.now)
    assert view is not None
    assert (view.state, view.paid) == (AgreementState.SETTLED, 1_750_000)
    (part,) = view.transactions
    assert (part.state, part.settle_quantity, part.energy) == (
        TransactionState.SETTLED,
        10_000_000,
        10_000_000,
    )
    assert (part.settled_ms, part.cycle_id) == (world.now, "cycle-1")

    entries = [entry.body for entry in ledger.entries(-1, 1_000)]
    verdict = verify(entries, MemoryLedger(), stored=ledger)
    assert verdict.ok, verdict.why
    assert verdict.entries == len(entries)

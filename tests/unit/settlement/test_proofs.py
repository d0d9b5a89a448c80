"""Bundles that prove a trade: complete, checked with one public key, safe from tampering."""

import copy
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from adapter.settlement import NoTradeError, ProofError, check_proof
from adapter.settlement.canonical import canonical_bytes
from adapter.settlement.merkle import leaf_hash, merkle_path, merkle_root, sides_of_path
from adapter.settlement.proof_search import prove
from tests.unit.settlement.anchored import (
    HOST_KEY,
    VECTOR_KEY,
    anchor,
    bundle_of,
    settled_market,
    signed,
    statements,
)
from tests.unit.settlement.trading import BOOK_A, FIRST, RATES, Trading
from tests.unit.settlement.world import EPOCH, Market


@pytest.fixture(scope="module")
def bundle() -> bytes:
    return bundle_of(settled_market(), "k-1")


def test_an_agreement_is_proven_from_proposal_to_payment(bundle: bytes) -> None:
    proven = check_proof(bundle, HOST_KEY)
    assert (proven.kind, proven.id) == ("agreement", "k-1")
    created, activated = proven.derived["created"], proven.derived["activated"]
    [settled] = proven.derived["settled"]
    assert (created["provider"], created["consumer"]) == ("bob", "alice")
    assert (created["energy"], created["price"]) == ("10", "0.15")
    assert activated["held"] == "1.75"  # 10 x (0.15 + 0.025)
    # generated 8 of 10, paid in full: basis CONTRACTED
    parts = (settled["energy"], settled["value"], settled["wheeling"])
    assert parts == ("8", "1.50", "0.25")
    assert [len(root.countersignatures) for root in proven.statements] == [1, 1]


def test_the_bundle_names_each_part_with_its_path(bundle: bytes) -> None:
    document = json.loads(bundle)
    assert document.keys() == {"type", "kind", "id", "entries", "roots", "derived"}
    assert [entry["role"] for entry in document["entries"]] == ["created", "activated", "settled"]
    functions = [json.loads(entry["body"])["function"] for entry in document["entries"]]
    assert functions == ["create_agreement", "accept_agreement", "settle_payment"]


def test_what_is_not_anchored_yet_is_left_out_or_refused() -> None:
    world = Market().set_up()
    world.agree()
    with pytest.raises(ProofError, match="not covered"):
        bundle_of(world, "k-1")
    world.now += EPOCH
    anchor(world)
    proven = check_proof(bundle_of(world, "k-1"), HOST_KEY)
    assert proven.derived.keys() == {"ledger", "created", "activated"}


def test_a_statement_without_signature_proves_nothing() -> None:
    world = settled_market()
    with pytest.raises(ProofError, match="not covered"):
        prove(world.ledger, "k-1", lambda statement: None)


def test_the_last_of_several_proposals_is_the_one_proven() -> None:
    world = Market().set_up()
    world.propose(energy_amount_kwh=7)
    world.agree(energy_amount_kwh=9)
    world.now += EPOCH
    anchor(world)
    proven = check_proof(bundle_of(world, "k-1"), HOST_KEY)
    assert proven.derived["created"]["energy"] == "9"


@pytest.mark.parametrize("trade", ["k-2", "1-main-0", "", "1-main-99999999999", "x" * 400])
def test_an_unknown_trade_is_named(trade: str) -> None:
    with pytest.raises(NoTradeError):
        bundle_of(settled_market(), trade)


def test_only_parties_and_overseers_get_a_proof() -> None:
    world = settled_market()
    for actor in ("alice", "bob", "bap", "bpp", "auditor", "regulator", "grid"):
        assert bundle_of(world, "k-1", actor)
    for actor in ("treasurer", "mallory", "headend"):
        with pytest.raises(NoTradeError):
            bundle_of(world, "k-1", actor)


def test_the_key_of_another_host_proves_nothing(bundle: bytes) -> None:
    for key in (VECTOR_KEY, "", "A" * 44):
        with pytest.raises(ProofError, match="signature"):
            check_proof(bundle, key)


def test_a_check_takes_less_than_5_ms(bundle: bytes) -> None:
    best = 1.0
    for _ in range(20):
        begun = time.perf_counter()
        check_proof(bundle, HOST_KEY)
        best = min(best, time.perf_counter() - begun)
    assert best < 0.005


# Tampering


@pytest.mark.parametrize("mask", [0x01, 0x20])
def test_no_byte_can_be_changed(bundle: bytes, mask: int) -> None:
    for position in range(0, len(bundle), 2 if mask == 1 else 7):
        flipped = bytes([bundle[position] ^ mask])
        with pytest.raises(ProofError):
            check_proof(bundle[:position] + flipped + bundle[position + 1 :], HOST_KEY)


@pytest.mark.parametrize("cut", [1, 2, 100, 5_000])
def test_nothing_can_be_cut_off_or_added(bundle: bytes, cut: int) -> None:
    for changed in (bundle[:-cut], bundle[cut:], bundle + b" " * cut):
        with pytest.raises(ProofError):
            check_proof(changed, HOST_KEY)


Place = tuple[str | int, ...]


def places(value: Any, here: Place = ()) -> Iterator[Place]:
    """Give the way to every value inside a document."""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for name, part in parts:
        yield (*here, name)
        if isinstance(part, dict | list):
            yield from places(part, (*here, name))


def changed_at(document: Any, place: Place, change: Any) -> bytes | None:
    """Return the document with one value changed; None when that is no change."""
    other = copy.deepcopy(document)
    parent = other
    for step in place[:-1]:
        parent = parent[step]
    change(parent, place[-1])
    return None if other == document else canonical_bytes(other)


def remove(parent: Any, name: Any) -> None:
    del parent[name]


def replace_with(value: Any) -> Any:
    def change(parent: Any, name: Any) -> None:
        parent[name] = value

    return change


def double(parent: Any, name: Any) -> None:
    if isinstance(parent, list):
        parent.insert(name, parent[name])
    else:
        parent[f"{name}x"] = parent[name]


def grow(parent: Any, name: Any) -> None:
    value = parent[name]
    parent[name] = value + 1 if isinstance(value, int) else [value]


FREE = "countersignatures"
"""A bundle may come with fewer or repeated countersignatures: nothing rests on their number."""


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(remove, id="left out"),
        pytest.param(replace_with(""), id="empty"),
        pytest.param(replace_with(0), id="zero"),
        pytest.param(replace_with([]), id="no list"),
        pytest.param(replace_with({}), id="no object"),
        pytest.param(double, id="twice"),
        pytest.param(grow, id="more"),
    ],
)
def test_no_part_can_be_changed(bundle: bytes, change: Any) -> None:
    document = json.loads(bundle)
    for place in places(document):
        if place[-1] == FREE or (len(place) > 1 and place[-2] == FREE):
            continue
        tampered = changed_at(document, place, change)
        if tampered is not None:
            with pytest.raises(ProofError):
                check_proof(tampered, HOST_KEY)


def test_parts_of_two_proofs_do_not_mix() -> None:
    world = Market().set_up()
    world.agree()
    world.agree("k-2", energy_amount_kwh=5)
    world.now += EPOCH
    anchor(world)
    first, second = (json.loads(bundle_of(world, trade)) for trade in ("k-1", "k-2"))
    for index in range(2):
        mixed = copy.deepcopy(first)
        mixed["entries"][index] = second["entries"][index]
        with pytest.raises(ProofError):
            check_proof(canonical_bytes(mixed), HOST_KEY)


def test_a_proof_of_another_ledger_with_the_same_key_is_no_proof_of_this_one() -> None:
    world = settled_market()
    document = json.loads(bundle_of(world, "k-1"))
    for root in document["roots"]:
        root["statement"]["ledger"] = "other"
    with pytest.raises(ProofError):
        check_proof(canonical_bytes(document), HOST_KEY)


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{}", b'{"type":1}', b"\xff", b"[" * 5_000])
def test_what_is_no_bundle_is_refused(text: bytes) -> None:
    with pytest.raises(ProofError):
        check_proof(text, HOST_KEY)


def test_the_sides_of_a_path_follow_from_place_and_size() -> None:
    for size in range(1, 20):
        leaves = [leaf_hash(bytes([number])) for number in range(size)]
        assert merkle_root(leaves)
        for index in range(size):
            path = merkle_path(leaves, index)
            assert tuple(step.side for step in path) == sides_of_path(index, size)


def test_statements_are_signed_once_per_bundle(bundle: bytes) -> None:
    roots = json.loads(bundle)["roots"]
    assert len(roots) == len({root["signature"] for root in roots}) == 2
    assert signed(statements(settled_market())[-1]).to_wire() == roots[-1]


# Spot trades


EPOCH_A = FIRST
ROWS_A = [(1, 2, "5"), (5, 2, "1"), (5, 6, "3"), (3, 6, "2"), (3, 4, "3")]
"""Sell order, buy order and kWh of the trades of book A. Source: section 9.2."""


def cleared_market(genesis: Any = RATES, **settings: Any) -> Trading:
    """Return a ledger on which book A was cleared, all anchored."""
    genesis = {**genesis, "settings": {**genesis["settings"], **settings}}
    world = Trading().set_up(genesis)
    world.enter(BOOK_A)
    world.clear()
    world.next_epoch()
    anchor(world)
    return world


@pytest.fixture(scope="module")
def market() -> Trading:
    return cleared_market()


@pytest.mark.parametrize("leaf_rows", [1, 2, 3, 256])
def test_every_trade_of_a_clearing_is_proven(leaf_rows: int) -> None:
    world = cleared_market(leaf_rows=leaf_rows)
    found = []
    for index in range(5):
        trade = f"{EPOCH_A}-main-{index}"
        proven = check_proof(bundle_of(world, trade), HOST_KEY)
        assert (proven.kind, proven.id) == ("trade", trade)
        derived = proven.derived
        assert (derived["seller"], derived["buyer"]) == (
            f"u{derived['sell_order']}",
            f"u{derived['buy_order']}",
        )
        assert derived["price"] == "6.00"
        found.append((derived["sell_order"], derived["buy_order"], derived["energy"]))
    assert found == ROWS_A


def test_the_money_of_a_trade_follows_from_its_orders(market: Trading) -> None:
    """3 kWh at 6.00 is 18.00; with wheeling 0.50 and fee 0.05 the buyer pays 19.65."""
    proven = check_proof(bundle_of(market, f"{EPOCH_A}-main-4"), HOST_KEY)
    assert (proven.derived["value"], proven.derived["buyer_pays"]) == ("18.00", "19.65")


@pytest.mark.parametrize("index", ["5", "05", "-1", "x", "4 ", ""])
def test_a_trade_that_is_not_in_its_clearing_is_unknown(market: Trading, index: str) -> None:
    with pytest.raises(NoTradeError):
        bundle_of(market, f"{EPOCH_A}-main-{index}")


def test_areas_that_are_cleared_in_one_entry_share_its_blocks() -> None:
    world = Trading().set_up(RATES)
    for area in ("main", "main-2", "east"):
        for side, price in (("SELL", "1.00"), ("BUY", "2.00")):
            user = f"{area}-{side.lower()}"
            world.trader(user, area=area)
            world.order(user, side, 2, price)
    world.next_epoch()
    world.do("oracle.perform_upkeep", "system")
    world.next_epoch()
    anchor(world)
    for area in ("main", "main-2", "east"):
        proven = check_proof(bundle_of(world, f"{EPOCH_A}-{area}-0"), HOST_KEY)
        assert (proven.derived["area"], proven.derived["seller"]) == (area, f"{area}-sell")
        with pytest.raises(NoTradeError):
            bundle_of(world, f"{EPOCH_A}-{area}-1")


def test_a_spot_trade_is_shown_to_its_parties(market: Trading) -> None:
    trade = f"{EPOCH_A}-main-0"
    for actor in ("u1", "u2", "auditor"):
        assert bundle_of(market, trade, actor)
    for actor in ("u3", "ann", "mallory"):
        with pytest.raises(NoTradeError):
            bundle_of(market, trade, actor)


def test_a_trade_waits_for_the_statement_over_its_clearing() -> None:
    world = Trading().set_up(RATES)
    world.enter(BOOK_A)
    world.next_epoch()
    anchor(world)
    world.match()
    with pytest.raises(ProofError, match="not covered"):
        bundle_of(world, f"{EPOCH_A}-main-0")


@pytest.mark.parametrize("leaf_rows", [1, 2])
def test_no_byte_of_a_trade_s_proof_can_be_changed(leaf_rows: int) -> None:
    bundle = bundle_of(cleared_market(leaf_rows=leaf_rows), f"{EPOCH_A}-main-3")
    for position in range(0, len(bundle), 3):
        flipped = bytes([bundle[position] ^ 1])
        with pytest.raises(ProofError):
            check_proof(bundle[:position] + flipped + bundle[position + 1 :], HOST_KEY)


@pytest.mark.parametrize("change", [remove, double, grow, replace_with("")])
def test_no_part_of_a_trade_s_proof_can_be_changed(market: Trading, change: Any) -> None:
    document = json.loads(bundle_of(market, f"{EPOCH_A}-main-3"))
    for place in places(document):
        if FREE in place[-2:]:
            continue
        tampered = changed_at(document, place, change)
        if tampered is not None:
            with pytest.raises(ProofError):
                check_proof(tampered, HOST_KEY)


def test_the_row_of_one_trade_does_not_prove_another(market: Trading) -> None:
    one, other = (json.loads(bundle_of(market, f"{EPOCH_A}-main-{i}")) for i in (1, 2))
    for part in ("block", "id", "derived", "entries"):
        with pytest.raises(ProofError):
            check_proof(canonical_bytes(one | {part: other[part]}), HOST_KEY)

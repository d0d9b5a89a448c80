"""Kept root statements: order, signatures, contradictions, and what stays once it is kept."""

from dataclasses import replace
from functools import partial

from adapter.service.ports import Store, UnitOfWork
from adapter.settlement import Countersignature, SignedRoot, Statement

ZEROS = "0" * 64
FIRST = Statement("grid", 10, 10, 0, 4, ZEROS, ZEROS, ZEROS, ZEROS, 9_900_000)
SECOND = replace(FIRST, first_epoch=11, last_epoch=12, first_seq=5, last_seq=6)
BAP = Countersignature("bap|k1|ed25519", "key", "signature")


def keep(uow: UnitOfWork, root: SignedRoot) -> None:
    uow.keep_root(root)


async def test_statements_come_back_in_order_of_epochs(store: Store) -> None:
    kept = [SignedRoot(FIRST, "a"), SignedRoot(SECOND, "b", (BAP,))]
    for root in reversed(kept):
        await store.write(partial(keep, root=root))
    assert await store.read(lambda uow: uow.roots("grid", -1, 9)) == kept
    assert await store.read(lambda uow: uow.roots("grid", 10, 9)) == kept[1:]
    assert await store.read(lambda uow: uow.roots("grid", -1, 1)) == kept[:1]
    assert await store.read(lambda uow: uow.roots("other", -1, 9)) == []
    assert await store.read(lambda uow: uow.last_root("grid")) == kept[1]
    assert await store.read(lambda uow: uow.last_root("other")) is None
    assert await store.read(lambda uow: uow.root(FIRST.hash)) == kept[0]
    assert await store.read(lambda uow: uow.root(ZEROS)) is None
    assert await store.read(lambda uow: uow.root_ledger()) == "grid"


async def test_countersignatures_join_and_what_is_kept_stays(store: Store) -> None:
    bpp = replace(BAP, key_id="bpp|k1|ed25519")
    for root in (
        SignedRoot(FIRST, "a"),
        SignedRoot(FIRST, "other", (BAP,)),
        SignedRoot(FIRST, "a", (replace(BAP, signature="other"), bpp)),
    ):
        await store.write(partial(keep, root=root))
    found = await store.read(lambda uow: uow.root(FIRST.hash))
    assert found == SignedRoot(FIRST, "a", (BAP, bpp))
    assert await store.read(lambda uow: uow.has_countersigned("bap"))
    assert not await store.read(lambda uow: uow.has_countersigned("ba"))


async def test_a_contradiction_is_kept_apart(store: Store) -> None:
    other = SignedRoot(replace(FIRST, root="1" * 64), "b")
    await store.write(lambda uow: uow.keep_root(SignedRoot(FIRST, "a")))
    await store.write(lambda uow: uow.keep_root(other, FIRST.hash))
    assert await store.read(lambda uow: uow.contradicting_roots(9)) == [other]
    last = await store.read(lambda uow: uow.last_root("grid"))
    assert last is not None
    assert last.statement == FIRST
    assert len(await store.read(lambda uow: uow.roots("grid", -1, 9))) == 1


async def test_an_empty_store_follows_nobody(store: Store) -> None:
    assert await store.read(lambda uow: uow.root_ledger()) is None
    assert await store.read(lambda uow: uow.contradicting_roots(9)) == []

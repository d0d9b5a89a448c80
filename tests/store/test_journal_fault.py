"""The known fault of the journal: one row, the first that was found."""

from adapter.service.ports import Store


async def test_the_first_fault_stays_and_only_that_one_can_be_taken_back(store: Store) -> None:
    async def known() -> str | None:
        return await store.read(lambda uow: uow.journal_fault())

    assert await known() is None
    await store.write(lambda uow: uow.keep_journal_fault("entry 5: changed"))
    await store.write(lambda uow: uow.keep_journal_fault("entry 3: missing"))
    assert await known() == "entry 5: changed"
    await store.write(lambda uow: uow.drop_journal_fault("entry 3: missing"))
    assert await known() == "entry 5: changed"
    await store.write(lambda uow: uow.drop_journal_fault("entry 5: changed"))
    assert await known() is None

"""Messages received and answered."""

import pytest

from adapter.domain.errors import WireError
from adapter.service.ports import Store
from tests.store.samples import BAP, inbox_row


async def test_a_stored_message_is_found_by_its_whole_key(store: Store) -> None:
    row = inbox_row(variant="v", code="BIZ_ORDER_NOT_FOUND", http_status=400)
    await store.write(lambda unit: unit.add_inbox_row(row))
    assert await store.read(lambda unit: unit.inbox_row(BAP, "m1", "init", "v")) == row


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(("other.example", "m1", "init", ""), id="another sender"),
        pytest.param((BAP, "m2", "init", ""), id="another message"),
        pytest.param((BAP, "m1", "confirm", ""), id="another action"),
        pytest.param((BAP, "m1", "init", "v"), id="another variant"),
    ],
)
async def test_another_key_finds_nothing(store: Store, key: tuple[str, str, str, str]) -> None:
    await store.write(lambda unit: unit.add_inbox_row(inbox_row()))
    assert await store.read(lambda unit: unit.inbox_row(*key)) is None


async def test_a_key_is_stored_once(store: Store) -> None:
    await store.write(lambda unit: unit.add_inbox_row(inbox_row(body=b"first")))
    with pytest.raises(Exception, match=r"(?i)unique") as raised:
        await store.write(lambda unit: unit.add_inbox_row(inbox_row(body=b"second")))
    assert not isinstance(raised.value, WireError), "a bug here, not a database that is away"
    kept = await store.read(lambda unit: unit.inbox_row(BAP, "m1", "init", ""))
    assert kept is not None
    assert kept.body == b"first"

"""The registry file: read again when it changes, refused when broken."""

from pathlib import Path

import pytest

from adapter.domain.errors import WireError
from adapter.transport.registry_records import participant_from, record_from
from adapter.transport.registry_static import LOOK_MS, RegistryFileError, StaticRegistry
from tests.fakes.time import FixedClock

NOW_MS = FixedClock().now_ms()

KEY = "awGPjRK6i/Vg/lWr+0xObclVxlwZXvTjWYtlu6NeOHk="
OTHER_KEY = "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="
TEMPLATE = """participants:
  - {{subscriber_id: bap.buyer.example, key_id: k1, type: BAP, domain: energy-trade,
     url: "http://127.0.0.1:8101/bap/receiver", signing_public_key: "{key}",
     valid_from: 2026-01-01T00:00:00Z, valid_until: "2036-01-01T00:00:00Z", status: {status}}}
  - {{subscriber_id: bap.buyer.example, key_id: k2, type: BAP, url: "http://127.0.0.1:8101/x",
     signing_public_key: "{key}", valid_from: "2026-02-01T00:00:00Z"}}
"""

DOUBLED = "k1, type: BAP, domain: energy-trade"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "network.yaml"
    path.write_text(TEMPLATE.format(key=KEY, status="SUBSCRIBED"))
    return path


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def registry(file: Path, clock: FixedClock) -> StaticRegistry:
    return StaticRegistry(file, clock)


def replace_file(file: Path, text: str, clock: FixedClock, after_ms: int = LOOK_MS) -> None:
    """Put another file in its place, as an editor does, and let time pass."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)
    clock.advance_ms(after_ms)


async def test_a_record_is_read_with_all_its_fields(registry: StaticRegistry) -> None:
    record = await registry.key("bap.buyer.example", "k1")
    assert (record.type, record.domain, record.status) == ("BAP", "energy-trade", "SUBSCRIBED")
    assert record.url == "http://127.0.0.1:8101/bap/receiver"
    assert record.valid_from_ms == 1_767_225_600_000  # 2026-01-01, unquoted in the file
    assert record.usable(NOW_MS)


async def test_usable_and_newest_records_come_first(registry: StaticRegistry) -> None:
    assert [one.key_id for one in await registry.records("bap.buyer.example")] == ["k2", "k1"]


@pytest.mark.parametrize(
    ("subscriber_id", "key_id", "code"),
    [
        ("unknown.example", "k1", "AUT_SUBSCRIBER_NOT_FOUND"),
        ("bap.buyer.example", "k9", "AUT_KEY_NOT_FOUND"),
    ],
)
async def test_unknown_subscriber_and_unknown_key_are_told_apart(
    registry: StaticRegistry, subscriber_id: str, key_id: str, code: str
) -> None:
    with pytest.raises(WireError) as caught:
        await registry.key(subscriber_id, key_id)
    assert caught.value.code == code


@pytest.mark.parametrize("after_ms", [20, 60_000, -1], ids="{} ms later".format)
async def test_a_changed_file_counts_within_20_ms_whichever_way_the_clock_went(
    file: Path, registry: StaticRegistry, clock: FixedClock, after_ms: int
) -> None:
    replace_file(file, TEMPLATE.format(key=KEY, status="UNSUBSCRIBED"), clock, after_ms)
    assert not (await registry.key("bap.buyer.example", "k1")).usable(NOW_MS)


async def test_the_20_ms_are_counted_from_the_last_look(
    file: Path, registry: StaticRegistry, clock: FixedClock
) -> None:
    clock.advance_ms(20)
    await registry.records("bap.buyer.example")
    replace_file(file, TEMPLATE.format(key=KEY, status="UNSUBSCRIBED"), clock, 19)
    await registry.records("bap.buyer.example")  # not looked: this does not begin them anew
    clock.advance_ms(1)
    assert not (await registry.key("bap.buyer.example", "k1")).usable(NOW_MS)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="truncated to nothing"),
        pytest.param("participants: [", id="no YAML"),
        pytest.param("participants: {}", id="no list"),
        pytest.param("participants: [7]", id="no map"),
        pytest.param("participants: [{subscriber_id: a}]", id="fields are missing"),
        pytest.param(TEMPLATE.format(key="AAAA", status="SUBSCRIBED"), id="short key"),
        pytest.param(TEMPLATE.format(key="A" * 43 + "=", status="X"), id="weak key"),
        pytest.param(
            TEMPLATE.format(key=KEY, status="X").replace("2036-01-01", "2036-13-01"), id="bad date"
        ),
        pytest.param(
            TEMPLATE.format(key=KEY, status="X").replace(
                "k2, type: BAP", "k1, type: BAP, domain: energy-trade"
            ),
            id="doubled key",
        ),
        pytest.param(
            TEMPLATE.format(key=KEY, status="X").replace("type: BAP", "type: X"), id="bad type"
        ),
    ],
)
async def test_a_broken_new_file_is_refused_and_the_old_one_stays(
    file: Path,
    registry: StaticRegistry,
    clock: FixedClock,
    text: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    replace_file(file, text, clock)
    for _ in range(3):
        clock.advance_ms(LOOK_MS)
        assert (await registry.key("bap.buyer.example", "k1")).usable(NOW_MS)
    assert len(caplog.records) == 1  # told once, not at every message
    with pytest.raises(RegistryFileError):
        StaticRegistry(file, FixedClock())
    replace_file(file, TEMPLATE.format(key=KEY, status="UNSUBSCRIBED"), clock)
    assert not (await registry.key("bap.buyer.example", "k1")).usable(NOW_MS)


async def test_a_key_that_did_not_hold_is_looked_for_in_the_file_as_it_is_now(
    file: Path, registry: StaticRegistry, clock: FixedClock
) -> None:
    assert await registry.refreshed_key("bap.buyer.example", "k1") is None  # nothing has changed
    replace_file(file, TEMPLATE.format(key=OTHER_KEY, status="SUBSCRIBED"), clock, after_ms=0)
    assert (await registry.key("bap.buyer.example", "k1")).signing_public_key == KEY
    fresh = await registry.refreshed_key("bap.buyer.example", "k1")
    assert fresh is not None
    assert fresh.signing_public_key == OTHER_KEY


async def test_a_file_that_is_gone_leaves_the_old_records(
    file: Path, registry: StaticRegistry, clock: FixedClock
) -> None:
    file.unlink()
    clock.advance_ms(LOOK_MS)
    assert (await registry.key("bap.buyer.example", "k1")).key_id == "k1"


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [
        ({"subscriber_id": "bap.buyer.example"}, ["k2", "k1"]),
        ({"key_id": "k1"}, ["k1"]),
        ({"type": "BAP", "domain": "energy-trade"}, ["k1"]),
        ({"type": "BPP"}, []),
        ({"key_id": "k1", "subscriber_id": "another"}, []),
    ],
    ids=str,
)
def test_find_matches_all_given_fields(
    registry: StaticRegistry, wanted: dict[str, str], keys: list[str]
) -> None:
    assert [one.key_id for one in registry.find(wanted)] == keys


async def test_a_record_reads_back_as_it_was_given_out(registry: StaticRegistry) -> None:
    record = await registry.key("bap.buyer.example", "k1")
    assert participant_from(record_from(record)) == record

import hashlib
import json

import pytest

from adapter.settlement import Account, Changes, Entry, Verdict, verify
from adapter.settlement.canonical import canonical_bytes, parse_canonical
from adapter.settlement.events import Event
from adapter.settlement.journal import entry_hash, seal
from adapter.settlement.postings import Direct
from adapter.store.ledger_memory import MemoryLedger
from tests.unit.settlement.world import EPOCH, Market, World

VECTOR = (
    b'{"actor":"treasury","args":{"amount":"35250000","external_reference":"bank-7","to":"alice"},'
    b'"cmd":"c-1","contract":"token","events":[{"amount":"35250000","external_reference":"bank-7",'
    b'"name":"Deposited","to":"alice"}],"function":"deposit","ledger":"vector","postings":'
    b'[{"amount":"35250000","from":"sys|INR|EXTERNAL","k":"direct","to":"alice|INR|MAIN"}],'
    b'"prev":"0000000000000000000000000000000000000000000000000000000000000000","seq":1,'
    b'"time":1767225600000,"v":1}'
)
VECTOR_HASH = "63cbc4625fd80e1793fa6a9fba5c520ac90d1ad31b94a57cf3ddb891100dc8c4"


def small_log() -> list[bytes]:
    """Return the journal of a ledger with a deposit and a transfer of nothing much."""
    world = World().open()
    world.user("alice")
    world.deposit("alice", 5)
    world.do("token.approve", "alice", spender="bob", value=3)
    return bodies(world)


def bodies(world: World) -> list[bytes]:
    """Return the entries of a world."""
    return [entry.body for entry in world.ledger.entries(-1, 10_000)]


def checked(entries: list[bytes]) -> Verdict:
    """Return the verdict on a journal."""
    return verify(entries, MemoryLedger())


def rewritten(body: bytes, **changes: object) -> bytes:
    """Return an entry with other fields, in canonical form."""
    return canonical_bytes({**parse_canonical(body), **changes})


def test_an_entry_has_the_published_bytes_and_hash() -> None:
    entry = seal(
        {
            "ledger": "vector",
            "seq": 1,
            "time": 1_767_225_600_000,
            "actor": "treasury",
            "cmd": "c-1",
            "contract": "token",
            "function": "deposit",
            "args": {"to": "alice", "amount": "35250000", "external_reference": "bank-7"},
            "prev": "0" * 64,
        },
        [Direct("sys|INR|EXTERNAL", "alice|INR|MAIN", 35_250_000)],
        [Event("Deposited", {"to": "alice", "amount": 35_250_000, "external_reference": "bank-7"})],
    )
    assert len(VECTOR) == 462
    assert entry.body == VECTOR
    assert entry.hash == VECTOR_HASH
    assert entry_hash(VECTOR) == hashlib.sha256(b"\0" + VECTOR).hexdigest() == VECTOR_HASH


def test_a_deposit_writes_an_entry_of_that_form() -> None:
    world = World().open()
    world.user("alice")
    world.do(
        "token.deposit",
        "treasurer",
        cmd="c-x",
        to="alice",
        amount="35.25",
        external_reference="bank-7",
    )
    document = json.loads(bodies(world)[-1])
    expected = json.loads(VECTOR)
    for name in ("args", "events", "contract", "function", "v"):
        assert document[name] == expected[name]
    assert document["postings"] == [
        {"amount": "35250000", "from": "sys|USD|EXTERNAL", "k": "direct", "to": "alice|USD|MAIN"}
    ]


def test_entry_0_holds_all_settings_roles_and_keys() -> None:
    document = json.loads(small_log()[0])
    assert (document["contract"], document["function"]) == ("registry", "initialize")
    assert document["prev"] == "0" * 64
    assert document["args"]["settings"]["wheeling_rate"] == "25000"
    assert document["args"]["settings"]["max_meters_per_user"] == 10
    assert document["args"]["roles"]["TREASURER"] == ["treasurer"]
    assert document["args"]["regulators"] == ["regulator"]


def test_a_whole_story_verifies() -> None:
    world = Market().set_up()
    world.agree()
    world.deliver(generated=8, consumed=6)
    world.tick()
    verdict = verify(bodies(world), MemoryLedger(), stored=world.ledger)
    assert verdict.ok, verdict.why
    head = world.ledger.head()
    assert head is not None
    assert verdict.head == head.hash


def test_on_behalf_of_is_part_of_the_entry_and_of_the_replay() -> None:
    world = Market().set_up()
    assert json.loads(bodies(world)[-1])["on_behalf_of"] == "alice"
    assert checked(bodies(world)).ok


def test_every_flipped_byte_of_the_last_entry_is_detected() -> None:
    world = World().open()
    world.user("alice")
    log = bodies(world)
    last = log[-1]
    for position in range(len(last)):
        flipped = last[:position] + bytes([last[position] ^ 1]) + last[position + 1 :]
        verdict = verify([*log[:-1], flipped], MemoryLedger(), stored=world.ledger)
        assert verdict.bad_seq == len(log) - 1, (position, flipped)


def test_a_flip_in_an_early_entry_is_named_there_or_by_the_next_link() -> None:
    log = small_log()
    for position in range(len(log[2])):
        body = log[2]
        flipped = body[:position] + bytes([body[position] ^ 1]) + body[position + 1 :]
        verdict = checked([*log[:2], flipped, *log[3:]])
        assert verdict.bad_seq == 2 or (verdict.bad_seq == 3 and verdict.why.startswith("2 chain"))


@pytest.mark.parametrize(
    ("change", "bad_seq"),
    [
        pytest.param(lambda log: log[1:], 0, id="first entry gone"),
        pytest.param(lambda log: log[:2] + log[3:], 2, id="an entry dropped"),
        pytest.param(lambda log: [*log[:2], log[3], log[2], *log[4:]], 2, id="two swapped"),
        pytest.param(lambda log: [*log[:2], log[1], *log[2:]], 2, id="an entry doubled"),
    ],
)
def test_a_changed_order_is_detected(change: object, bad_seq: int) -> None:
    assert callable(change)
    verdict = checked(change(small_log()))
    assert verdict.bad_seq == bad_seq
    assert verdict.why.startswith("1 sequence")


def test_a_forged_entry_breaks_the_chain() -> None:
    log = small_log()
    forged = rewritten(log[1], time=1)
    verdict = checked([log[0], forged, *log[2:]])
    # The forged entry itself replays to its own bytes; the next link gives it away.
    assert (verdict.bad_seq, verdict.why[:7]) == (2, "2 chain")


def test_a_truncated_journal_differs_from_its_ledger() -> None:
    world = World().open()
    world.user("alice")
    verdict = verify(bodies(world)[:-1], MemoryLedger(), stored=world.ledger)
    assert not verdict.ok
    assert "head" in verdict.why


def test_a_changed_stored_balance_is_named() -> None:
    world = World().open()
    world.user("alice")
    head = world.ledger.head()
    assert isinstance(world.ledger, MemoryLedger)
    assert head is not None
    stolen = [Account("alice|USD|MAIN", 1, 0)]
    entry = Entry(head.seq + 1, 0, head.hash, b"")
    world.ledger.write(Changes(stolen, [], [], entry))
    world.ledger._entries.pop()
    verdict = verify(bodies(world), MemoryLedger(), stored=world.ledger)
    assert "alice|USD|MAIN" in verdict.why


@pytest.mark.parametrize(
    ("postings", "why"),
    [
        pytest.param(
            [{"k": "direct", "from": "sys|USD|EXTERNAL", "to": "alice|GRID|MAIN", "amount": "1"}],
            "does not balance",
            id="two assets",
        ),
        pytest.param(
            [{"k": "direct", "from": "alice|USD|MAIN", "to": "bob|USD|MAIN", "amount": "1"}],
            "posted -1",
            id="more than there is",
        ),
        pytest.param(
            [{"k": "direct", "from": "sys|USD|EXTERNAL", "to": "alice|USD|MAIN", "amount": "0"}],
            "not above zero",
            id="nothing",
        ),
        pytest.param([{"k": "void", "hold": "9.9", "why": "cancel"}], "not open", id="no hold"),
        pytest.param([{"k": "gift"}], "no known kind", id="no kind"),
    ],
)
def test_postings_that_do_not_balance_are_named(postings: object, why: str) -> None:
    log = small_log()
    verdict = checked([*log[:2], rewritten(log[2], postings=postings)])
    assert verdict.bad_seq == 2
    assert verdict.why.startswith("4 postings")
    assert why in verdict.why


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        pytest.param({"postings": []}, "another entry", id="postings left out"),
        pytest.param({"actor": "mallory"}, "UNAUTHORIZED|NOT_REC_REGULATOR", id="another actor"),
        pytest.param({"function": "no_such"}, "no function", id="no such function"),
        pytest.param({"args": {}}, "INVALID_INPUT", id="arguments left out"),
        pytest.param({"events": []}, "another entry", id="events left out"),
        pytest.param({"v": 2}, "1 sequence", id="another version"),
    ],
)
def test_an_entry_that_its_command_does_not_give_is_named(
    changes: dict[str, object], why: str
) -> None:
    world = World().open()
    world.user("alice")
    world.deposit("alice", 5)
    log = bodies(world)
    target = len(log) - 1 if "postings" in changes else 2
    verdict = checked([*log[:target], rewritten(log[target], **changes)])
    assert verdict.bad_seq == target
    assert any(part in verdict.why for part in why.split("|")), verdict.why


def test_a_refused_command_leaves_no_entry() -> None:
    world = World().open()
    before = len(bodies(world))
    world.refused(
        "USER_NOT_FOUND", "token.deposit", "treasurer", to="x", amount=1, external_reference="r"
    )
    assert len(bodies(world)) == before


def test_the_journal_has_no_numbers_for_amounts() -> None:
    world = Market().set_up()
    world.agree()
    world.deliver(10, 10)
    world.tick()
    for body in bodies(world):
        for posting in json.loads(body)["postings"]:
            amounts = [posting.get("amount", "1"), *(leg[1] for leg in posting.get("legs", []))]
            assert all(isinstance(amount, str) for amount in amounts)
    assert EPOCH == 900_000

"""The end of a run: faults stop, everything is cancelled or expires, and nothing stays held."""

from typing import TYPE_CHECKING, Any

from adapter.settlement import FUNCTIONS
from adapter.settlement.agreement_rows import Transaction, TransactionState
from adapter.settlement.pool_rows import PoolOffer
from adapter.settlement.rows import Counter, User, UserState, padded
from tests.sim.genesis import USERS
from tests.sim.participants import Call

if TYPE_CHECKING:
    from tests.sim.simulation import Simulation

HOUR_MS = 3_600_000
ROUNDS_MAX = 400
"""Rounds of the timer; each takes at most ten commands."""


def heal(run: "Simulation") -> None:
    """Bring everyone back, let all deadlines pass, and check I22."""
    database = run.database
    for user in USERS:
        if _get(run, User, user).state is UserState.SUSPENDED:
            step = {"user": user, "new_status": "ACTIVE"}
            _do(run, "registry.update_user_status", "regulator", step)
    for offer in _open_offers(run):
        _do(run, "pool.cancel_trade", offer.seller, {"offer_no": offer.offer_no})
    run.now += 12 * HOUR_MS
    settle_down(run)
    for number in _disputed(run):
        args: dict[str, Any] = {"transaction_no": number, "outcome": "VOID"}
        _do(run, "agreements.resolve_dispute", "regulator", args)
    run.now += HOUR_MS
    settle_down(run)
    database.connection.control("BEGIN")
    left = [account.id for account in database.ledger.accounts() if account.held]
    in_use = database.ledger.account("sys|CAP|IN_USE")
    database.connection.control("ROLLBACK")
    if _disputed(run):
        return  # nobody can decide yet: the ledger has no resolve_dispute
    assert left == [], f"still held: {left}"
    if run.settings.get("cap_scope") != "PER_SLOT":  # a delivered slot gives no room back
        assert in_use is None or in_use.posted == 0


def settle_down(run: "Simulation") -> None:
    """Let the timer run until nothing is due; polling on changes nothing then."""
    for _ in range(ROUNDS_MAX):
        before = run.counts["accepted"], run.counts["refused"]
        run.tick()
        assert run.counts["refused"] == before[1], "the timer was refused"
        if run.counts["accepted"] == before[0]:
            return
    raise AssertionError("the timer never comes to an end")


def _do(run: "Simulation", function: str, actor: str, args: dict[str, Any]) -> None:
    if tuple(function.split(".")) not in FUNCTIONS:
        return
    refused = run.counts["refused"]
    run.sent += 1
    assert run.handle(Call(f"heal-{run.sent}", function, actor, None, args))
    assert run.counts["refused"] == refused, f"{function} {args} was refused"


def _get(run: "Simulation", kind: Any, key: str) -> Any:
    run.database.connection.control("BEGIN")
    found = run.database.ledger.get(kind, key)
    run.database.connection.control("ROLLBACK")
    return found


def _open_offers(run: "Simulation") -> list[PoolOffer]:
    run.database.connection.control("BEGIN")
    found = list(run.database.ledger.find(PoolOffer, "open", ""))
    run.database.connection.control("ROLLBACK")
    return [offer for offer in found if not offer.expires_ms or offer.expires_ms >= run.now]


def _disputed(run: "Simulation") -> list[int]:
    last = _get(run, Counter, "transaction")
    numbers = range(1, last.last + 1) if last else range(0)
    rows = [(n, _get(run, Transaction, padded(n))) for n in numbers]
    return [n for n, row in rows if row.state is TransactionState.DISPUTED]

"""registry: trade caps of meters, kept as accounts of the asset CAP.

`posted` of a meter's account is the cap less what is in use, `held` what is reserved, so the room
left is what is available. A meter without a cap has no such account and no check.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from adapter.domain.instants import EPOCH_MS
from adapter.domain.quantities import MAX_MICRO
from adapter.settlement import accounts
from adapter.settlement.agreement_rows import CapSnapshot
from adapter.settlement.agreement_terms import Terms, TradeSide
from adapter.settlement.contracts.parties import check_meter
from adapter.settlement.kinds import ENERGY_OR_ZERO, ID, INTERVAL, choice_kind
from adapter.settlement.refusals import invalid, refusal
from adapter.settlement.rows import Cap
from adapter.settlement.state import Reader
from adapter.settlement.work import Work

NO_CAP = CapSnapshot(cap=MAX_MICRO, total=0)
"""What a meter without a cap shows, because the wire requires caps above zero."""


@dataclass(frozen=True, slots=True)
class SetTradeCap:
    """Set how much energy a meter may have in live trades, per side."""

    meter_id: Annotated[str, ID]
    side: Annotated[str, choice_kind("a side", TradeSide)]
    cap: Annotated[int, ENERGY_OR_ZERO]
    slot: Annotated[int | None, INTERVAL] = None


def check_slot(work: Work, args: SetTradeCap) -> None:
    """Check that a slot is named exactly when caps are per slot."""
    if (work.settings.cap_scope == "PER_SLOT") != (args.slot is not None):
        raise invalid("slot", "name it with cap_scope PER_SLOT, and only then")


def set_trade_cap(work: Work, args: SetTradeCap) -> Mapping[str, Any]:
    """Give or take the difference to the cap before."""
    check_meter(work, args.meter_id)
    account = accounts.cap(args.meter_id, args.side, args.slot)
    known = work.get(Cap, account)
    old = known.granted if known else 0
    room = work.available(account)
    if args.cap < old - room:
        msg = f"{args.meter_id} {args.side}: {old - room} are in use or reserved, in millionths"
        raise refusal("CAP_BELOW_USE", msg, used=str(old - room))
    work.open_account(account)
    if args.cap > old:
        work.direct(accounts.GRANTED, account, args.cap - old)
    elif args.cap < old:
        work.direct(account, accounts.GRANTED, old - args.cap)
    work.put(Cap(account, args.cap))
    fields = {"meter_id": args.meter_id, "side": args.side, "slot": args.slot}
    work.emit("TradeCapSet", {**fields, "old_cap": old, "new_cap": args.cap})
    return {"meter_id": args.meter_id, "side": args.side}


@dataclass(frozen=True, slots=True)
class CapUse:
    """How much of a cap is taken."""

    cap: int
    total: int
    """In use by live trades."""
    reserved: int
    """Set aside by proposals and orders."""

    @property
    def room(self) -> int:
        """Return what is left."""
        return self.cap - self.total - self.reserved


def cap_use(reader: Reader, account_id: str) -> CapUse | None:
    """Return the use of a cap account, None when the meter has no such cap."""
    cap, account = reader.get(Cap, account_id), reader.account(account_id)
    if cap is None or account is None:
        return None
    return CapUse(cap.granted, cap.granted - account.posted, account.held)


def capped_parts(work: Work, terms: Terms, side: TradeSide) -> list[tuple[str, int]]:
    """Return the cap accounts that an agreement uses and how much of each; a market has none.

    With PER_SLOT the energy counts evenly over the slots of the window, the units left over in
    the first ones.
    """
    parts = _parts(work.settings.cap_scope, terms, side)
    return [(account, part) for account, part in parts if part and work.get(Cap, account)]


def _parts(scope: str, terms: Terms, side: TradeSide) -> Iterator[tuple[str, int]]:
    meter_id = terms.meter(side)
    if not meter_id:
        return
    if scope != "PER_SLOT":
        yield accounts.cap(meter_id, side), terms.energy
        return
    each, rest = divmod(terms.energy, (terms.end_ms - terms.start_ms) // EPOCH_MS)
    for i, start_ms in enumerate(terms.starts):
        yield accounts.cap(meter_id, side, start_ms), each + (i < rest)


def snapshot(work: Work, parts: list[tuple[str, int]]) -> CapSnapshot:
    """Return cap and total, reservations of others included, before an agreement is counted."""
    uses = [use for account, _ in parts if (use := cap_use(work, account)) is not None]
    if not uses:
        return NO_CAP
    return CapSnapshot(
        cap=sum(use.cap for use in uses), total=sum(use.total + use.reserved for use in uses)
    )


def check_room(work: Work, meter_id: str, side: TradeSide, parts: list[tuple[str, int]]) -> None:
    """Check that every account has room.

    Raises:
        ContractError: TRADE_CAP_EXCEEDED, with meter, side, cap, total, reserved and room.
    """
    for account, amount in parts:
        use = cap_use(work, account)
        assert use is not None
        if use.room < amount:
            msg = f"{meter_id} {side}: {amount} wanted, {use.room} left under the trade cap"
            raise refusal(
                "TRADE_CAP_EXCEEDED",
                msg,
                meter=meter_id,
                side=str(side),
                cap=str(use.cap),
                total=str(use.total),
                reserved=str(use.reserved),
                room=str(use.room),
            )


def return_room(work: Work, parts: tuple[tuple[str, int], ...]) -> None:
    """Give back what a trade that is over took from caps."""
    for account, amount in parts:
        work.direct(accounts.IN_USE, account, amount)

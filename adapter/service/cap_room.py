"""What a meter may still trade under its caps, and what the grid operator says of them."""

from collections.abc import Mapping
from typing import Any

from adapter.domain.errors import ContractError
from adapter.domain.instants import EPOCH_MS, DeliveryInterval
from adapter.domain.quantities import Energy
from adapter.service.ports import UnitOfWork
from adapter.settlement import CapSnapshot, meter_owner, read
from adapter.settlement.contracts.caps import NO_CAP
from adapter.settlement.kinds import WINDOW

SELL, BUY = "SELL", "BUY"


def owner_of(uow: UnitOfWork, meter_id: str, at_ms: int) -> str:
    """Return the owner of a meter at an instant.

    Raises:
        ContractError: METER_NOT_FOUND.
    """
    owner = meter_owner(uow.ledger, meter_id, at_ms)
    if owner is None:
        msg = f"meter {meter_id[:60]!r} has no owner when the trade window begins"
        raise ContractError("METER_NOT_FOUND", msg)
    return owner


def check_window(window: DeliveryInterval) -> None:
    """Refuse a window as create_agreement does, before caps are read for each of its slots.

    Raises:
        ContractError: INVALID_INTERVAL, longer than 31 days or off the 15-minute grid;
            INVALID_INPUT, before 1970 or too far off.
    """
    span = {"start": window.start_ms, "end": window.end_ms}
    WINDOW.check("window", span)
    if any(instant % EPOCH_MS for instant in span.values()):
        raise ContractError("INVALID_INTERVAL", "window: not on the 15-minute grid")


def room_left(
    uow: UnitOfWork, meter_id: str, side: str, window: DeliveryInterval, now_ms: int
) -> int | None:
    """Return what a meter's side may still trade, in 10^-6 kWh; None without a cap.

    With caps per slot it is the room of the fullest slot, as the energy counts evenly over them.
    """
    caps = _caps(uow, meter_id, side, window, now_ms)
    rooms = [_micro(cap["room"]) for cap in caps if cap["capped"]]
    return min(rooms) * len(caps) if rooms else None


def cap_snapshot(
    uow: UnitOfWork, meter_id: str, side: str, window: DeliveryInterval, now_ms: int
) -> CapSnapshot:
    """Return cap and total of a meter's side, reservations included."""
    caps = [c for c in _caps(uow, meter_id, side, window, now_ms) if c["capped"]]
    if not caps:
        return NO_CAP
    totals = (_micro(cap["total"]) + _micro(cap["reserved"]) for cap in caps)
    return CapSnapshot(cap=sum(_micro(cap["cap"]) for cap in caps), total=sum(totals))


def _caps(
    uow: UnitOfWork, meter_id: str, side: str, window: DeliveryInterval, now_ms: int
) -> list[Mapping[str, Any]]:
    """Return the caps of a meter's side that a trade counts in: one, or those of its slots."""
    owner = owner_of(uow, meter_id, window.start_ms)

    def one(**slot: int) -> Mapping[str, Any]:
        args = {"meter_id": meter_id, **slot}
        found: Mapping[str, Any] = read(
            uow.ledger, "registry", "get_trade_caps", args, owner, now_ms
        )[side]
        return found

    whole = one()
    return [whole] if whole["capped"] else [one(slot=start) for start in window.epochs()]


def _micro(kwh: str) -> int:
    return Energy.from_kwh(kwh).micro_kwh

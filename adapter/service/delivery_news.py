"""What the platform of an agreement is told about an entry of the ledger, and when.

Progress of delivery is told once at its beginning, and with every part that is recorded or
settled before the last one. A dispute, its end, settlement, expiry and cancellation are told
always. Source: settlement specification, section 11.2 and ruling R3.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from adapter.protocol.decision import News
from adapter.service.delivery_report import delivery_report
from adapter.service.ports import UnitOfWork
from adapter.settlement import AgreementState, AgreementView, Event, agreement_view

_STATUS_OF: Mapping[AgreementState, str] = {
    AgreementState.ACTIVE: "ACTIVE",
    AgreementState.DELIVERED: "ACTIVE",
    AgreementState.SETTLED: "COMPLETED",
    AgreementState.CANCELLED: "TERMINATED",
    AgreementState.EXPIRED: "TERMINATED",
}
"""Contract status on the wire; a proposal is told nothing."""


def news_of(
    uow: UnitOfWork, events: Iterable[Event], now_ms: int
) -> Iterator[tuple[AgreementView, News]]:
    """Give what is worth telling about each agreement that `events` touch, once per agreement."""
    touched: dict[int, set[str]] = {}
    for event in events:
        if event.name in _WORTH and "agreement_no" in event.fields:
            touched.setdefault(int(event.fields["agreement_no"]), set()).add(event.name)
    for agreement_no, names in touched.items():
        view = agreement_view(uow.ledger, "", agreement_no, now_ms)
        assert view is not None
        status = _STATUS_OF.get(view.state)
        worth = [_WORTH[name](uow, view) for name in sorted(names)]
        if status is not None and any(worth):
            yield view, News(status, delivery_report(view, now_ms), view.share_meter)


def _always(_uow: UnitOfWork, _view: AgreementView) -> bool:
    return True


def _first(uow: UnitOfWork, view: AgreementView) -> bool:
    return uow.mark(f"progress|{view.agreement_no}")


def _part(uow: UnitOfWork, view: AgreementView) -> bool:
    """Return whether a record is one of several parts, or the first sign of delivery."""
    first = _first(uow, view)
    return first or view.is_delivered_in_parts


_WORTH: Mapping[str, Callable[[UnitOfWork, AgreementView], bool]] = {
    "EnergyAllocated": _first,
    "EnergyDelivered": _part,
    "TransactionDisputed": _always,
    "DisputeResolved": _always,
    "PaymentSettled": _always,
    "AgreementExpired": _always,
    "AgreementCancelled": _always,
}
"""Events of an agreement that its platform may be told about."""

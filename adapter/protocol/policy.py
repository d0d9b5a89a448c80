"""Tier 3: what a network demands of a trade beyond the contract. Off unless configured.

A policy is data: lead time, slot, currencies and so on; what it leaves out is not asked. Each
breach is POL_ELIGIBILITY_NOT_MET and names the policy's rule. Only messages that bargain are
judged, so a change of policy never stops a trade that is confirmed. Source: protocol
specification, sections 8 and 15.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any, NamedTuple

from adapter.domain.findings import Finding, Path, Severity, Tier, json_path
from adapter.domain.instants import format_duration, parse_duration
from adapter.domain.zones import find_zone
from adapter.protocol.metered import instant
from adapter.protocol.rules.message import ContractCase, Message

CODE = "POL_ELIGIBILITY_NOT_MET"
BARGAINING = frozenset({"select", "on_select", "init", "on_init", "confirm", "on_confirm"})
MAX_ITEMS = 1_000
"""Entries of one list of a policy."""
_TIME_OF_DAY = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d|24:00")
_HOURS = re.compile(rf"({_TIME_OF_DAY.pattern})-({_TIME_OF_DAY.pattern})")


@dataclass(frozen=True, slots=True)
class Policy:
    """The demands of one network; None or empty: not asked."""

    name: str = "custom"
    lead_time_ms: int | None = None
    """From the message to the start of delivery, at least."""
    horizon_ms: int | None = None
    """From the message to the start of delivery, at most."""
    validity_gap_ms: int | None = None
    """From the end of the offer's validity to the start of delivery, at least."""
    slot_ms: int | None = None
    """Length of the trade window, which begins on a multiple of it."""
    hours: tuple[str, str] | None = None
    """Local times of day between which energy is delivered."""
    time_zone: str = "UTC"
    """For `hours` and for where slots begin."""
    minimum_kwh: Decimal | None = None
    maximum_kwh: Decimal | None = None
    step_kwh: Decimal | None = None
    """The contracted quantity is a multiple of it."""
    currencies: tuple[str, ...] = ()
    source_types: tuple[str, ...] = ()
    grid_operators: tuple[str, ...] = ()
    """Subscriber ids that may fill GRID_OPERATOR."""


HOUR_MS = 3_600_000
POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        "interdiscom": Policy(
            name="interdiscom",
            lead_time_ms=4 * HOUR_MS,
            validity_gap_ms=4 * HOUR_MS,
            slot_ms=HOUR_MS,
            time_zone="Asia/Kolkata",
            currencies=("INR",),
        )
    }
)
"""Published policies. `interdiscom`: the pilot between Indian utilities, which trades whole hours
four hours ahead in INR."""


def read_policy(value: object) -> Policy | None:
    """Return the policy that a setting names or spells out; None for `none`.

    Args:
        value: `none`, a name out of `POLICIES`, or a map of the keys below.

    Raises:
        ValueError: an unknown name or key, or a value that is none.
    """
    if value is None or value == "none":
        return None
    if isinstance(value, str):
        known = POLICIES.get(value)
        if known is None:
            msg = f"{value[:40]!r} is no policy; known are none, {', '.join(POLICIES)}"
            raise ValueError(msg)
        return known
    if not isinstance(value, Mapping):
        msg = "a policy is none, a name, or a map"
        raise ValueError(msg)
    found: dict[str, Any] = {}
    for key, given in value.items():
        reader = _KEYS.get(key) if isinstance(key, str) else None
        if reader is None:
            msg = f"{str(key)[:40]!r} is no key of a policy; there are {', '.join(_KEYS)}"
            raise ValueError(msg)
        field, read = reader
        try:
            found[field] = read(given)
        except (ValueError, TypeError, InvalidOperation):
            msg = f"{key}: {str(given)[:40]!r} is not {_MEANING[read]}"
            raise ValueError(msg) from None
    return Policy(**found)


def check_policy(
    policy: Policy | None, action: str, body: Mapping[str, Any]
) -> tuple[Finding, ...]:
    """Return what a policy finds in a message that passed its schema."""
    return () if policy is None else check_policy_of(policy, Message(action, body))


def check_policy_of(policy: Policy, message: Message) -> tuple[Finding, ...]:
    """Return what `check_policy` returns, for a message that has been taken apart already."""
    if message.action not in BARGAINING:
        return ()
    view = message.contract
    if view is None or view.mode is None:
        return ()
    case = ContractCase(message, view)
    return tuple(_finding(rule, breach) for rule in RULES for breach in rule.check(policy, case))


class Breach(NamedTuple):
    """A place where a demand is not met, and what would be."""

    path: Path
    found: str
    wanted: str


def _lead_time(policy: Policy, case: ContractCase) -> Iterator[Breach]:
    start, now = case.window[0], case.message.now
    if policy.lead_time_ms is None or start is None or now is None:
        return
    if start - now < policy.lead_time_ms:
        wanted = f"at least {format_duration(policy.lead_time_ms)} after {case.message.now_text}"
        yield _start(case, wanted)


def _horizon(policy: Policy, case: ContractCase) -> Iterator[Breach]:
    start, now = case.window[0], case.message.now
    if policy.horizon_ms is None or start is None or now is None:
        return
    if start - now > policy.horizon_ms:
        wanted = f"at most {format_duration(policy.horizon_ms)} after {case.message.now_text}"
        yield _start(case, wanted)


def _validity_gap(policy: Policy, case: ContractCase) -> Iterator[Breach]:
    validity = case.view.input("SELLER", "validityWindow") or {}
    start, end = case.window[0], instant(validity.get("end"))
    if policy.validity_gap_ms is None or start is None or end is None:
        return
    if start - end < policy.validity_gap_ms:
        gap = format_duration(policy.validity_gap_ms)
        text = str(case.view.input("BUYER", "tradeStartTime"))
        path = (*case.view.input_path("SELLER", "validityWindow"), "end")
        yield Breach(path, str(validity["end"]), f"at least {gap} before {text}")


def _slot(policy: Policy, case: ContractCase) -> Iterator[Breach]:
    start, end = case.window
    if policy.slot_ms is None or start is None or end is None:
        return
    slot = format_duration(policy.slot_ms)
    if end - start != policy.slot_ms:
        found = f"{case.view.input('BUYER', 'tradeEndTime')}"
        path = case.view.input_path("BUYER", "tradeEndTime")
        yield Breach(path, found, f"{slot} after the start")
    if _local_ms(start, policy.time_zone) % policy.slot_ms:
        yield _start(case, f"on a multiple of {slot} in {policy.time_zone}")


def _hours(policy: Policy, case: ContractCase) -> Iterator[Breach]:
    interval = case.interval
    if policy.hours is None or interval is None:
        return
    first, last = (_minutes(text) * 60_000 for text in policy.hours)
    start = _local_ms(interval.start_ms, policy.time_zone)
    end = start + interval.end_ms - interval.start_ms
    if not first <= start <= end <= last:
        yield _start(case, f"within {'-'.join(policy.hours)} in {policy.time_zone}")


def _quantity(policy: Policy, case: ContractCase) -> Iterator[Breach]:
    kwh = case.view.input("BUYER", "contractedQuantity")
    if kwh is None:
        return
    least, most, step = policy.minimum_kwh, policy.maximum_kwh, policy.step_kwh
    broken = (
        f"at least {least} kWh" if least is not None and kwh < least else "",
        f"at most {most} kWh" if most is not None and kwh > most else "",
        f"a multiple of {step} kWh" if step is not None and Decimal(kwh) % step else "",
    )
    path = case.view.input_path("BUYER", "contractedQuantity")
    yield from (Breach(path, str(kwh), wanted) for wanted in broken if wanted)


def _currency(policy: Policy, case: ContractCase) -> Iterator[Breach]:
    currency = case.view.currency
    if policy.currencies and currency is not None and currency not in policy.currencies:
        path = case.view.input_path("SELLER", "currency")
        yield Breach(path, currency, _one_of(policy.currencies))


def _source_type(policy: Policy, case: ContractCase) -> Iterator[Breach]:
    source = case.view.input("SELLER", "sourceType")
    if policy.source_types and source is not None and source not in policy.source_types:
        path = case.view.input_path("SELLER", "sourceType")
        yield Breach(path, str(source), _one_of(policy.source_types))


def _grid_operator(policy: Policy, case: ContractCase) -> Iterator[Breach]:
    role = case.view.role("GRID_OPERATOR")
    if not policy.grid_operators or role is None or not role.filled:
        return
    if role.filled_by not in policy.grid_operators:
        path = case.role_path(role, "filledBy")
        yield Breach(path, str(role.filled_by), _one_of(policy.grid_operators))


class PolicyRule(NamedTuple):
    """One demand that a policy can make."""

    id: str
    check: Any
    """(Policy, ContractCase) -> breaches."""
    keys: tuple[str, ...]
    """Keys of the policy that it reads."""
    meaning: str


RULES: Sequence[PolicyRule] = (
    PolicyRule("LEAD_TIME", _lead_time, ("lead_time",), "Delivery begins late enough."),
    PolicyRule("HORIZON", _horizon, ("horizon",), "Delivery does not begin too far ahead."),
    PolicyRule("VALIDITY_GAP", _validity_gap, ("validity_gap",), "The offer ends long before."),
    PolicyRule("SLOT", _slot, ("slot", "time_zone"), "The window is one slot of the grid."),
    PolicyRule("HOURS", _hours, ("hours", "time_zone"), "Energy flows in the delivery day."),
    PolicyRule(
        "QUANTITY",
        _quantity,
        ("minimum_kwh", "maximum_kwh", "step_kwh"),
        "The quantity is within bounds and on the step.",
    ),
    PolicyRule("CURRENCY", _currency, ("currencies",), "The contract is in an allowed currency."),
    PolicyRule("SOURCE_TYPE", _source_type, ("source_types",), "The source is allowed."),
    PolicyRule("GRID_OPERATOR", _grid_operator, ("grid_operators",), "The operator is allowed."),
)
"""All demands, in the order in which they are reported."""


def _finding(rule: PolicyRule, breach: Breach) -> Finding:
    return Finding(
        Tier.POLICY,
        Severity.ERROR,
        CODE,
        json_path(breach.path),
        f"policy {rule.id}: {breach.found} is not {breach.wanted}",
        rule=rule.id,
        wire_code=CODE,
        params={"found": breach.found, "wanted": breach.wanted},
    )


def _start(case: ContractCase, wanted: str) -> Breach:
    path = case.view.input_path("BUYER", "tradeStartTime")
    return Breach(path, str(case.view.input("BUYER", "tradeStartTime")), wanted)


def _one_of(allowed: Sequence[str]) -> str:
    return " or ".join(allowed) if len(allowed) < 8 else f"one of {len(allowed)} allowed"


def _local_ms(instant_ms: int, zone_name: str) -> int:
    """Return the milliseconds since local midnight."""
    zone = find_zone(zone_name)
    moment = datetime.fromtimestamp(instant_ms // 1_000, zone)
    seconds = (moment.hour * 60 + moment.minute) * 60 + moment.second
    return seconds * 1_000 + instant_ms % 1_000


def _minutes(time_of_day: str) -> int:
    hours, minutes = time_of_day.split(":")
    return int(hours) * 60 + int(minutes)


def _read_text(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 60 or not value.isprintable():
        raise ValueError
    return value


def _read_duration(value: object) -> int:
    return parse_duration(_read_text(value))


def _read_zone(value: object) -> str:
    if find_zone(_read_text(value)) is None:
        raise ValueError
    return _read_text(value)


def _read_hours(value: object) -> tuple[str, str]:
    match = _HOURS.fullmatch(_read_text(value))
    if match is None or _minutes(match[1]) >= _minutes(match[2]):
        raise ValueError
    return match[1], match[2]


def _read_kwh(value: object) -> Decimal:
    if isinstance(value, bool):
        raise TypeError
    kwh = Decimal(str(value))
    if not kwh.is_finite() or kwh <= 0:
        raise ValueError
    return kwh


def _read_names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_ITEMS:
        raise ValueError
    return tuple(map(_read_text, value))


_KEYS: Mapping[str, tuple[str, Any]] = MappingProxyType(
    {
        "name": ("name", _read_text),
        "lead_time": ("lead_time_ms", _read_duration),
        "horizon": ("horizon_ms", _read_duration),
        "validity_gap": ("validity_gap_ms", _read_duration),
        "slot": ("slot_ms", _read_duration),
        "hours": ("hours", _read_hours),
        "time_zone": ("time_zone", _read_zone),
        "minimum_kwh": ("minimum_kwh", _read_kwh),
        "maximum_kwh": ("maximum_kwh", _read_kwh),
        "step_kwh": ("step_kwh", _read_kwh),
        "currencies": ("currencies", _read_names),
        "source_types": ("source_types", _read_names),
        "grid_operators": ("grid_operators", _read_names),
    }
)
_MEANING: Mapping[Any, str] = MappingProxyType(
    {
        _read_text: "a text of 1 to 60 characters",
        _read_duration: "an ISO 8601 duration such as PT4H",
        _read_zone: "an IANA time zone",
        _read_hours: "two times of day such as 06:00-18:00",
        _read_kwh: "a number of kWh above zero",
        _read_names: "a list of texts",
    }
)
assert {field.name for field in fields(Policy)} == {field for field, _ in _KEYS.values()}

"""Rules 89 to 99: status, times, registers and telemetry of a delivery."""

from collections.abc import Iterator

from adapter.domain.findings import Path, Severity
from adapter.protocol.metered import instant
from adapter.protocol.rules.exact import Number, difference, plain
from adapter.protocol.rules.message import DeliveryCase
from adapter.protocol.rules.rule import Hit, Rule

_OVER = frozenset({"COMPLETED", "FAILED"})


def status(case: DeliveryCase) -> Iterator[Hit]:
    """Delivery and fulfilment say the same."""
    mine = case.delivery.get("deliveryStatus")
    descriptor = case.part.fulfillment.get("beckn:state", {}).get("beckn:descriptor", {})
    theirs = descriptor.get("schema:name")
    if mine is not None and theirs is not None and mine != theirs:
        yield Hit(case.path("deliveryStatus"), {"a": mine, "b": theirs})


def end_time(case: DeliveryCase) -> Iterator[Hit]:
    """An end is set exactly when the delivery is over, and lies after the start."""
    state = case.delivery.get("deliveryStatus")
    end_text = case.delivery.get("deliveryEndTime")
    end, start = instant(end_text), instant(case.delivery.get("deliveryStartTime"))
    misplaced = state is not None and (end is not None) != (state in _OVER)
    if misplaced or (end is not None and start is not None and end <= start):
        yield Hit(case.path("deliveryEndTime"), {"end": end_text, "status": state})


def outside_window(case: DeliveryCase) -> Iterator[Hit]:
    """Delivery and readings lie in the trade window."""
    if case.contract is None:
        return
    first, last = case.contract.window
    for keys, time in _delivery_times(case):
        if (first is not None and time < first) or (last is not None and time > last):
            yield Hit(case.path(*keys), {"path": _name(keys)})


def in_future(case: DeliveryCase) -> Iterator[Hit]:
    """Nothing in the delivery is later than the message."""
    now = case.message.now
    if now is None:
        return
    for keys, time in (*_delivery_times(case), *_other_times(case)):
        if time > now:
            yield Hit(case.path(*keys), {"path": _name(keys)})


def _delivery_times(case: DeliveryCase) -> Iterator[tuple[Path, int]]:
    for name in ("deliveryStartTime", "deliveryEndTime"):
        time = instant(case.delivery.get(name))
        if time is not None:
            yield (name,), time
    for index, reading in enumerate(case.readings):
        time = instant(reading.get("timestamp"))
        if time is not None:
            yield ("meterReadings", index, "timestamp"), time


def _other_times(case: DeliveryCase) -> Iterator[tuple[Path, int]]:
    for index, event in enumerate(case.delivery.get("telemetry", ())):
        time = instant(event.get("eventTime"))
        if time is not None:
            yield ("telemetry", index, "eventTime"), time
    time = instant(case.delivery.get("lastUpdated"))
    if time is not None:
        yield ("lastUpdated",), time


def _name(keys: Path) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)[1:]


def reading_order(case: DeliveryCase) -> Iterator[Hit]:
    """Readings come in time order, no two at once."""
    times = [instant(reading.get("timestamp")) for reading in case.readings]
    for index in range(1, len(times)):
        before, now = times[index - 1], times[index]
        if before is not None and now is not None and now <= before:
            yield Hit(case.path("meterReadings", index, "timestamp"), {})


def registers(case: DeliveryCase) -> Iterator[Hit]:
    """No register falls."""
    for name in ("sourceReading", "targetReading"):
        for index in range(1, len(case.readings)):
            rise = _rise(case, name, index - 1, index)
            if rise is not None and rise < 0:
                yield Hit(case.path("meterReadings", index, name), {"register": name})


def _rise(case: DeliveryCase, name: str, first: int, last: int) -> Number | None:
    before, after = case.readings[first].get(name), case.readings[last].get(name)
    return None if before is None or after is None else difference(after, before)


def energy_flow(case: DeliveryCase) -> Iterator[Hit]:
    """Each energyFlow is what the target register rose since the reading before."""
    for index, reading in enumerate(case.readings):
        found = reading.get("energyFlow")
        rise = _rise(case, "targetReading", index - 1, index) if index else 0
        if found is not None and rise is not None and found != rise:
            path = case.path("meterReadings", index, "energyFlow")
            yield Hit(path, {"found": plain(found), "expected": plain(rise)})


def loss(case: DeliveryCase) -> Iterator[Hit]:
    """The target received no more than the source sent."""
    if len(case.readings) > 1:
        sent = _rise(case, "sourceReading", 0, -1)
        received = _rise(case, "targetReading", 0, -1)
        if sent is not None and received is not None and received > sent:
            yield Hit(case.path("meterReadings"), {})


def delivered_quantity(case: DeliveryCase) -> Iterator[Hit]:
    """The deliveredQuantity is what the target register rose altogether."""
    found = case.delivery.get("deliveredQuantity")
    rise = _rise(case, "targetReading", 0, -1) if case.readings else None
    if found is not None and rise is not None and found != rise:
        params = {"found": plain(found), "expected": plain(rise)}
        yield Hit(case.path("deliveredQuantity"), params)


def delivered_over(case: DeliveryCase) -> Iterator[Hit]:
    """No more was delivered than contracted."""
    found = case.delivery.get("deliveredQuantity")
    contracted = case.contract.view.input("BUYER", "contractedQuantity") if case.contract else None
    if found is not None and contracted is not None and found > contracted:
        params = {"found": plain(found), "contracted": plain(contracted)}
        yield Hit(case.path("deliveredQuantity"), params)


def telemetry_energy(case: DeliveryCase) -> Iterator[Hit]:
    """Energy reported at the time of a reading is that of the registers there."""
    telemetry = case.delivery.get("telemetry", ())
    if not telemetry or not case.readings:
        return
    at_time = {instant(r.get("timestamp")): index for index, r in enumerate(case.readings)}
    for number, event in enumerate(telemetry):
        index = at_time.get(instant(event.get("eventTime")) or -1)
        if index is None:
            continue
        since_start = _rise(case, "targetReading", 0, index)
        since_last = _rise(case, "targetReading", index - 1, index) if index else 0
        for place, metric in enumerate(event.get("metrics", ())):
            is_energy = metric["name"] == "ENERGY" and metric["unitCode"] == "KWH"
            expected = (since_start, since_last)
            if is_energy and None not in expected and metric["value"] not in expected:
                path = case.path("telemetry", number, "metrics", place, "value")
                params = {"found": plain(metric["value"]), "cumulative": plain(since_start)}
                yield Hit(path, params)


DELIVERY_RULES = (
    Rule(
        "P2P_DELIVERY_STATUS",
        Severity.WARNING,
        "delivery {a}, fulfilment state {b}",
        status,
    ),
    Rule(
        "P2P_DELIVERY_TIME",
        Severity.ERROR,
        "delivery end {end} does not fit status {status}",
        end_time,
    ),
    Rule(
        "P2P_DELIVERY_WINDOW",
        Severity.WARNING,
        "{path} outside the trade window",
        outside_window,
    ),
    Rule(
        "P2P_DELIVERY_FUTURE",
        Severity.WARNING,
        "{path} lies after the message time",
        in_future,
    ),
    Rule(
        "P2P_READING_ORDER",
        Severity.ERROR,
        "meter readings not in time order",
        reading_order,
    ),
    Rule(
        "P2P_READING_REGISTER",
        Severity.ERROR,
        "register {register} runs backwards",
        registers,
    ),
    Rule(
        "P2P_READING_FLOW",
        Severity.WARNING,
        "energyFlow {found}, registers say {expected}",
        energy_flow,
    ),
    Rule(
        "P2P_READING_LOSS",
        Severity.WARNING,
        "target received more than the source sent",
        loss,
    ),
    Rule(
        "P2P_DELIVERED_QUANTITY",
        Severity.WARNING,
        "delivered {found} kWh, registers say {expected}",
        delivered_quantity,
    ),
    Rule(
        "P2P_DELIVERED_OVER",
        Severity.INFO,
        "{found} kWh delivered, {contracted} contracted; the excess is a deviation",
        delivered_over,
    ),
    Rule(
        "P2P_TELEMETRY_ENERGY",
        Severity.WARNING,
        "telemetry {found} kWh, registers say {cumulative}",
        telemetry_energy,
    ),
)

"""Under which names a market's contract says what cleared: the keys of `clearedPower`.

Source: contract specification, sections 3.3 and 6.4; decision 0018.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from adapter.protocol.contract import inputs_of_entry
from adapter.protocol.role_inputs import canonical_role


def cleared_keys(contract: Mapping[str, Any]) -> dict[str, str]:
    """Return the key in clearedPower of each filled PROSUMER of a contract, by its meter.

    It is the platform that fills the role where no other PROSUMER has that name, as platform or
    as meter; else it is the meter.
    """
    pairs = [(str(entry["filledBy"]), meter_of(entry)) for entry in filled_prosumers(contract)]
    bearers = _bearers(pairs)
    return {meter: platform if bearers[platform] == 1 else meter for platform, meter in pairs}


def nameless(pairs: Iterable[tuple[str, str]]) -> set[str]:
    """Return the meters of those that neither platform nor meter tells apart from all others.

    A key that fits two PROSUMERs breaks P2P_CLEARED_KEY.

    Args:
        pairs: platform and meter of each PROSUMER.
    """
    known = list(pairs)
    bearers = _bearers(known)
    return {meter for platform, meter in known if min(bearers[platform], bearers[meter]) > 1}


def _bearers(pairs: Iterable[tuple[str, str]]) -> Counter[str]:
    """Count the PROSUMERs that each name fits."""
    return Counter(name for pair in pairs for name in set(pair))


def filled_prosumers(contract: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the filled PROSUMER roles of a contract that passed its schema, in their order."""
    roles = contract.get("roles") or ()
    return [
        entry
        for entry in roles
        if canonical_role(str(entry.get("role"))) == "PROSUMER" and entry.get("filled")
    ]


def meter_of(entry: Mapping[str, Any]) -> str:
    """Return the meter of a filled PROSUMER role."""
    return str(inputs_of_entry(entry)["sourceMeterId"])

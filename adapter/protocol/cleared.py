"""Under which names a market's contract says what cleared: the keys of `clearedPower`.

Source: contract specification, sections 3.3 and 6.4; decision 0018.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from adapter.protocol.contract import inputs_of_entry
from adapter.protocol.role_inputs import canonical_role


def cleared_keys(contract: Mapping[str, Any]) -> dict[str, str]:
    """Return the key in clearedPower of each filled PROSUMER of a contract, by its meter.

    It is the platform that fills the role; two under one platform are told apart by their meters.
    """
    filled = filled_prosumers(contract)
    platforms = Counter(str(entry["filledBy"]) for entry in filled)
    keys = {}
    for entry in filled:
        platform, meter = str(entry["filledBy"]), meter_of(entry)
        keys[meter] = platform if platforms[platform] == 1 else meter
    return keys


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

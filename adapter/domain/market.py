"""A market in which prosumers trade at one clearing price: what all its parties agree on.

The market is the MARKET_CLEARING_AGENT, and on the ledger the central counterparty: it buys from
everybody who exports and sells to everybody who withdraws. Source: contract specification,
sections 7.3 and 10.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from adapter.domain.instants import EPOCH_MS, DeliveryInterval
from adapter.domain.quantities import Energy, UnitPrice

EPOCHS_PER_HOUR = 4
CLEARING_MS = 60_000
"""How long after its gate a market may take until its clearing is confirmed; reservations stand
until then."""


class FeeTreatment(StrEnum):
    """Who pays the market making fee."""

    SYMMETRIC = "SYMMETRIC"
    """Everybody: a withdrawal costs it more, an export brings it less."""
    BUYER_ONLY = "BUYER_ONLY"


@dataclass(frozen=True, slots=True)
class MarketTerms:
    """What a market's contract says before anything has cleared."""

    window: DeliveryInterval
    gate_ms: int
    """When the market closes: commitments are taken until then, and then it clears."""
    fee: UnitPrice
    """marketMakingFee, in the contract's currency."""
    fee_treatment: FeeTreatment = FeeTreatment.SYMMETRIC


def cleared_energies(
    power_micro_kw: Mapping[str, int], window: DeliveryInterval
) -> dict[str, Energy]:
    """Return the energy that each participant's cleared power is over the window.

    Power times time need not be whole millionths of a kWh. Each side is rounded down and the
    units left over go to its largest remainders, ties in the order of the keys, so that what is
    bought equals what is sold.

    Args:
        power_micro_kw: 10^-6 kW by participant, + export, - withdrawal, sum 0.
        window: whole quarter hours.
    """
    exports = {key: power for key, power in power_micro_kw.items() if power > 0}
    withdrawals = {key: -power for key, power in power_micro_kw.items() if power < 0}
    quarters = (window.end_ms - window.start_ms) // EPOCH_MS
    energies = dict.fromkeys(power_micro_kw, Energy(0))
    for side in (exports, withdrawals):
        energies |= _shared_out(side, quarters)
    return energies


def _shared_out(power_micro_kw: Mapping[str, int], quarters: int) -> dict[str, Energy]:
    parts = {
        key: divmod(power * quarters, EPOCHS_PER_HOUR) for key, power in power_micro_kw.items()
    }
    whole = sum(power_micro_kw.values()) * quarters // EPOCHS_PER_HOUR
    left = whole - sum(floor for floor, _ in parts.values())
    by_remainder = sorted(parts, key=lambda key: (-parts[key][1], key))
    favoured = set(by_remainder[:left])
    return {key: Energy(floor + (key in favoured)) for key, (floor, _) in parts.items()}

"""How metered energy is shared among the agreements of a meter, and what is then paid.

Pure numbers. Source: settlement specification, section 11.3.
"""

from collections.abc import Sequence


def share(metered: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Return what each weight gets of `metered`, never more than the weight itself.

    Enough for all: everyone gets its weight. Else in proportion, rounded down, and the units left
    over go one each to the largest remainders, ties to the earlier one. Σ = min(metered, Σ
    weights), exactly.
    """
    total = sum(weights)
    if metered >= total:
        return tuple(weights)
    shares = [weight * metered // total for weight in weights]
    remainders = [weight * metered % total for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda k: (-remainders[k], k))
    for k in by_remainder[: metered - sum(shares)]:
        shares[k] += 1
    return tuple(shares)


def settle_quantity(basis: str, *, contracted: int, seller: int, buyer: int) -> int:
    """Return the paid quantity of an agreement under its settlement basis.

    MIN_OF_TWO is the outcome of the three rounds of the DEG ledger: R1 the seller's share of its
    generation, R2 the buyer's share of its consumption capped at R1, R3 the seller's share capped
    at R2. R3 = R2 = the smaller share, whichever reading came first.
    """
    quantities = {"CONTRACTED": contracted, "DELIVERED": seller, "MIN_OF_TWO": min(seller, buyer)}
    return quantities[basis]

import pytest

from adapter.settlement.contracts.allocation_rule import settle_quantity, share


@pytest.mark.parametrize(
    ("metered", "weights", "expected"),
    [
        pytest.param(15_000_000, [10_000_000] * 2, (7_500_000,) * 2, id="15 over 10, 10"),
        pytest.param(
            8_000_000,
            [5_000_000, 4_000_000, 3_000_000],
            (3_333_333, 2_666_667, 2_000_000),
            id="8 over 5, 4, 3",
        ),
        pytest.param(10, [7, 7, 7], (4, 3, 3), id="10 units over 7, 7, 7: ties to the earlier"),
        pytest.param(21, [7, 7, 7], (7, 7, 7), id="just enough"),
        pytest.param(99, [7, 0, 7], (7, 0, 7), id="more than enough, one has all already"),
        pytest.param(0, [7, 7], (0, 0), id="nothing metered"),
        pytest.param(0, [0, 0], (0, 0), id="nothing metered, nothing wanted"),
        pytest.param(5, [], (), id="nobody"),
        pytest.param(7_000_000, [6_000_000, 5_000_000], (3_818_182, 3_181_818), id="7 over 6, 5"),
    ],
)
def test_share(metered: int, weights: list[int], expected: tuple[int, ...]) -> None:
    assert share(metered, weights) == expected


@pytest.mark.parametrize(
    ("basis", "expected"), [("CONTRACTED", 10), ("DELIVERED", 8), ("MIN_OF_TWO", 6)]
)
def test_the_basis_gives_the_paid_quantity(basis: str, expected: int) -> None:
    assert settle_quantity(basis, contracted=10, seller=8, buyer=6) == expected

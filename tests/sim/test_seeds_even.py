"""Every other batch of the seeds of a test run."""

import pytest

from tests.sim.batches import batches, run_batch


@pytest.mark.parametrize("seeds", batches(0), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_no_fault_breaks_the_ledger(seeds: range, request: pytest.FixtureRequest) -> None:
    run_batch(seeds, request)

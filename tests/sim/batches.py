"""The seeds of every test run: a thousand in 40 batches, in two files for two workers."""

from collections import Counter

import pytest

from tests.sim.simulation import simulate

SEEDS, BATCHES, STEPS = 1_000, 40, 25
PROPERTY = "simulated"
"""Name under which a test says what it has run; the summary adds it up."""


def batches(half: int) -> list[range]:
    """Return every other batch of seeds."""
    size = SEEDS // BATCHES
    return [range(number * size, (number + 1) * size) for number in range(half, BATCHES, 2)]


def run_batch(seeds: range, request: pytest.FixtureRequest) -> Counter[str]:
    """Run seeds; the first that fails stops the batch and is named."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        counts += simulate(seed, STEPS).counts
        counts["seeds"] += 1
    request.node.user_properties.append((PROPERTY, dict(counts)))
    # Faults are rare events: a batch without any would test nothing.
    assert counts["crashes"]
    assert counts["errors"]
    assert counts["replayed"]
    return counts

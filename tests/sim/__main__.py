"""`python -m tests.sim`: run seeds by hand."""

import argparse
import sys
from collections import Counter

from tests.sim.simulation import SimulationError, simulate


def main() -> int:
    """Run the seeds and print their counts; 1 when one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds")
    parser.add_argument("--steps", type=int, default=40, help="commands sent per seed")
    asked = parser.parse_args()
    counts: Counter[str] = Counter()
    failed: list[int] = []
    for seed in range(asked.seed, asked.seed + asked.count):
        try:
            outcome = simulate(seed, asked.steps)
        except SimulationError as error:
            sys.stdout.write(f"{error}\n")
            failed.append(seed)
            continue
        counts += outcome.counts
        if asked.count == 1:
            sys.stdout.write(f"head {outcome.head}\ntrace {outcome.trace}\n")
    shown = ", ".join(f"{counts[name]} {name}" for name in sorted(counts))
    sys.stdout.write(f"{asked.count} seeds: {shown}\n")
    if failed:
        sys.stdout.write(f"failed: {', '.join(map(str, failed))}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

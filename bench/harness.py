"""Interleaved timing: candidates take turns, so that a slow moment hits all of them."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Candidate:
    """One thing to time."""

    name: str
    version: str
    run: Callable[[], object]
    times: int
    """Calls per round; the figure is per call."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Seconds per call over the rounds."""

    name: str
    version: str
    lowest: float
    median: float
    highest: float

    def to_wire(self, scale: float) -> dict[str, Any]:
        """Return min, median and max in the benchmark's unit, three digits after the point."""
        values = {"min": self.lowest, "median": self.median, "max": self.highest}
        return {key: round(value * scale, 3) for key, value in values.items()}


def interleaved(candidates: list[Candidate], rounds: int) -> dict[str, Figure]:
    """Return the figures of all candidates by name; one round warms up and does not count."""
    samples: dict[str, list[float]] = {one.name: [] for one in candidates}
    for turn in range(rounds + 1):
        for one in candidates:
            seconds = _time(one)
            if turn:
                samples[one.name].append(seconds)
    return {
        one.name: Figure(
            one.name,
            one.version,
            min(samples[one.name]),
            statistics.median(samples[one.name]),
            max(samples[one.name]),
        )
        for one in candidates
    }


def _time(one: Candidate) -> float:
    gc.collect()
    begin = time.perf_counter()
    for _ in range(one.times):
        one.run()
    return (time.perf_counter() - begin) / one.times


def compared(ours: Figure, baseline: Figure, scale: float) -> dict[str, Any]:
    """Return ours beside its baseline; the ratio is above 1 when ours is better."""
    return {
        "ours": ours.to_wire(scale),
        "baseline": {
            "name": baseline.name,
            "version": baseline.version,
            **baseline.to_wire(scale),
        },
        "ratio_median": round(baseline.median / ours.median, 2),
    }


def to_text(result: Mapping[str, Any]) -> str:
    """Return a result for people."""
    lines = [f"{result['name']} ({result['unit']})"]
    for case in result["cases"]:
        ours, base = case["ours"], case["baseline"]
        lines.append(
            f"  {case['case']}: {ours['median']} ({ours['min']} to {ours['max']}), "
            f"{base['name']} {base['version']} {base['median']} "
            f"({base['min']} to {base['max']}), ratio {case['ratio_median']}"
        )
    return "\n".join(lines)

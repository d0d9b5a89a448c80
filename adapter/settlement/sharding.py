"""Where books are cleared: in this process, or spread over an executor.

Books are independent, so any split gives the result of one pass. A shard is a run of areas with
about its share of the rows; results are put together in the order of areas. Needs NumPy.
Source: settlement specification, section 9.2.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np

from adapter.settlement.kernel_books import (
    NO_PRICE,
    PLAIN,
    ClearedBooks,
    Options,
    clear_books,
)
from adapter.settlement.kernel_rows import Ints, Sides
from adapter.settlement.kernels import clear_book


class ClearBooks(Protocol):
    """Clears independent books; every implementation gives the same result."""

    def __call__(
        self, area: Ints, side: Sides, price: Ints, lots: Ints, *, tick: int
    ) -> ClearedBooks:
        """Return what `kernel_books.clear_books` returns for the same arguments."""
        ...


def clear_here(
    area: Ints, side: Sides, price: Ints, lots: Ints, *, tick: int, options: Options = PLAIN
) -> ClearedBooks:
    """Return what `kernel_books.clear_books` does; a book alone needs no sorting.

    Raises:
        ValueError: the arrays are no such books.
    """
    is_plain = options.caps is None and options.limits is None
    is_alone = is_plain and 0 < len(area) == len(lots) and not area.any()
    if not is_alone:
        return clear_books(area, side, price, lots, tick=tick, options=options)
    found = clear_book(side, price, lots, tick=tick, rule=options.rule, pairs=options.pairs)
    return ClearedBooks(
        np.array([NO_PRICE if found.price is None else found.price]),
        np.array([found.volume]),
        found.fills,
        np.zeros_like(found.trade_sell),
        found.trade_sell,
        found.trade_buy,
        found.trade_lots,
        found.trade_price,
    )


class _Shard(NamedTuple):
    """Some books, with their areas counted from 0."""

    area: Ints
    side: Sides
    price: Ints
    lots: Ints
    tick: int
    options: Options


class _Place(NamedTuple):
    """Where a shard comes from."""

    first: int
    """First area."""
    end: int
    """One after its last area."""
    rows: Ints
    """Its rows among all."""


@dataclass(frozen=True, slots=True)
class Spread:
    """An executor and into how many parts the books are split for it."""

    executor: Executor
    """Arguments and results must pass between its processes."""
    shards: int
    """1 or more; at most one per book is used."""
    patience_s: int | None = None
    """How long to wait for all parts; None: until they are there."""

    def __post_init__(self) -> None:
        """Refuse nothing to split into."""
        if self.shards < 1:
            msg = f"{self.shards} shards"
            raise ValueError(msg)

    def clear_books(
        self,
        area: Ints,
        side: Sides,
        price: Ints,
        lots: Ints,
        *,
        tick: int,
        options: Options = PLAIN,
    ) -> ClearedBooks:
        """Return what `kernel_books.clear_books` returns for the same arguments.

        Raises:
            ValueError: the arrays are no such books.
            TimeoutError: a part takes longer than `patience_s`.
        """
        if not len(area):
            return clear_books(area, side, price, lots, tick=tick, options=options)
        count = len(options.limits) if options.limits is not None else int(area.max()) + 1
        places = list(_places(area, self.shards, count))
        parts = [
            _Shard(
                area[place.rows] - place.first,
                side[place.rows],
                price[place.rows],
                lots[place.rows],
                tick,
                _own(options, place),
            )
            for place in places
        ]
        cleared = list(self.executor.map(_clear, parts, timeout=self.patience_s))
        return _merged(list(zip(places, cleared, strict=True)), count, len(lots))


def _clear(shard: _Shard) -> ClearedBooks:
    area, side, price, lots, tick, options = shard
    return clear_here(area, side, price, lots, tick=tick, options=options)


def _places(area: Ints, shards: int, count: int) -> Iterator[_Place]:
    """Give runs of areas with about the same number of rows each."""
    if area.min() < 0 or area.max() >= count:
        msg = "an area is below 0 or beyond the limits"
        raise ValueError(msg)
    ends = np.cumsum(np.bincount(area, minlength=count))
    shares = ends[-1] * np.arange(1, shards) // shards
    firsts = np.unique(np.append(0, np.searchsorted(ends, shares, side="right")))
    shard = np.searchsorted(firsts, area, side="right") - 1
    order = np.argsort(shard, kind="stable")
    cuts = np.searchsorted(shard[order], np.arange(1, len(firsts)))
    bounds = pairwise([*firsts.tolist(), count])
    for (first, end), rows in zip(bounds, np.split(order, cuts), strict=True):
        yield _Place(first, end, rows)


def _own(options: Options, place: _Place) -> Options:
    caps = None if options.caps is None else options.caps[place.rows]
    limits = None if options.limits is None else options.limits[place.first : place.end]
    return replace(options, caps=caps, limits=limits)


def _merged(parts: Sequence[tuple[_Place, ClearedBooks]], count: int, rows: int) -> ClearedBooks:
    price = np.full(count, NO_PRICE, dtype=np.int64)
    volume = np.zeros(count, dtype=np.int64)
    fills = np.zeros(rows, dtype=np.int64)
    for place, books in parts:
        areas = slice(place.first, place.first + len(books.price))
        price[areas], volume[areas], fills[place.rows] = books.price, books.volume, books.fills
    return ClearedBooks(
        price,
        volume,
        fills,
        np.concatenate([books.trade_area + place.first for place, books in parts]),
        np.concatenate([place.rows[books.trade_sell] for place, books in parts]),
        np.concatenate([place.rows[books.trade_buy] for place, books in parts]),
        np.concatenate([books.trade_lots for _, books in parts]),
        np.concatenate([books.trade_price for _, books in parts]),
    )

"""trading: orders and their 15-minute batch auctions."""

from adapter.settlement.commands import Function, Read

FUNCTIONS: tuple[Function, ...] = ()

READS: tuple[Read, ...] = ()

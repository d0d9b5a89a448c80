"""pool: fixed-price offers."""

from adapter.settlement.commands import Function, Read

FUNCTIONS: tuple[Function, ...] = ()

READS: tuple[Read, ...] = ()

"""oracle: signed meter readings."""

from adapter.settlement.commands import define, define_read
from adapter.settlement.contracts import agreement_reads, grants, readings
from adapter.settlement.tables import callers

FUNCTIONS = (
    define(
        "oracle.submit_reading",
        readings.SubmitReading,
        readings.submit_reading,
        roles=callers.ORACLE,
    ),
    define(
        "oracle.add_oracle_operator",
        grants.AddOracleOperator,
        grants.adding(grants.ORACLE_OPERATORS),
        roles=callers.ADMIN,
    ),
    define(
        "oracle.remove_oracle_operator",
        grants.RemoveOracleOperator,
        grants.removing(grants.ORACLE_OPERATORS),
        roles=callers.ADMIN,
    ),
)

READS = (
    define_read("oracle.get_reading", agreement_reads.GetReading, agreement_reads.get_reading),
)

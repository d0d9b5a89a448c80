"""oracle: signed meter readings, requests for them, their corrections, upkeep."""

from adapter.settlement.commands import define, define_read
from adapter.settlement.contracts import (
    agreement_reads,
    corrections,
    grants,
    oracle_reads,
    reading_blocks,
    readings,
    requests,
    upkeep,
)
from adapter.settlement.tables import callers

FUNCTIONS = (
    define(
        "oracle.submit_reading",
        readings.SubmitReading,
        readings.submit_reading,
        roles=callers.ORACLE,
    ),
    define(
        "oracle.submit_readings",
        reading_blocks.SubmitReadings,
        reading_blocks.submit_readings,
        roles=callers.ORACLE,
    ),
    define(
        "oracle.request_energy_data",
        requests.RequestEnergyData,
        requests.request_energy_data,
        callers="the owner of the meter or its representative, ORACLE_OPERATOR",
    ),
    define(
        "oracle.fulfill_energy_data",
        requests.FulfillEnergyData,
        requests.fulfill_energy_data,
        roles=callers.ORACLE,
    ),
    define(
        "oracle.fail_request", requests.FailRequest, requests.fail_request, roles=callers.ORACLE
    ),
    define("oracle.fund_oracle", requests.FundOracle, requests.fund_oracle, callers=callers.SELF),
    define(
        "oracle.correct_reading",
        corrections.CorrectReading,
        corrections.correct_reading,
        roles=callers.ORACLE,
    ),
    define(
        "oracle.confirm_correction",
        corrections.ConfirmCorrection,
        corrections.confirm_correction,
        roles=callers.REGULATOR,
    ),
    define(
        "oracle.perform_upkeep",
        upkeep.PerformUpkeep,
        upkeep.perform_upkeep,
        roles=callers.UPKEEP,
    ),
    define(
        "oracle.set_auto_market_clearing",
        upkeep.SetAutoMarketClearing,
        upkeep.set_auto_market_clearing,
        roles=callers.ADMIN,
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
    define_read("oracle.check_upkeep", upkeep.CheckUpkeep, upkeep.check_upkeep),
    define_read("oracle.get_reading", agreement_reads.GetReading, agreement_reads.get_reading),
    define_read("oracle.get_request", oracle_reads.GetRequest, oracle_reads.get_request),
    define_read(
        "oracle.get_pending_requests",
        oracle_reads.GetPendingRequests,
        oracle_reads.get_pending_requests,
    ),
    define_read(
        "oracle.get_oracle_balance", oracle_reads.GetOracleBalance, oracle_reads.get_oracle_balance
    ),
    define_read("oracle.get_correction", oracle_reads.GetCorrection, oracle_reads.get_correction),
)

"""pool: fixed-price offers."""

from adapter.settlement.commands import define, define_read
from adapter.settlement.contracts import pool, pool_energy, pool_reads
from adapter.settlement.tables import callers

_BACKED = "the user itself with a reading, POOL_OPERATOR with evidence"

FUNCTIONS = (
    define("pool.register_prosumer", pool.JoinPool, pool.register_prosumer, callers=callers.SELF),
    define(
        "pool.add_energy",
        pool_energy.AddEnergy,
        pool_energy.add_energy,
        callers=_BACKED,
        precheck=pool_energy.check_backing,
    ),
    define(
        "pool.consume_energy",
        pool_energy.ConsumeEnergy,
        pool_energy.consume_energy,
        callers=_BACKED,
        precheck=pool_energy.check_backing,
    ),
    define("pool.add_funds", pool_energy.AddFunds, pool_energy.add_funds, roles=callers.TREASURER),
    define(
        "pool.trade_energy",
        pool.TradeEnergy,
        pool.trade_energy,
        callers=callers.SELF,
        precheck=pool.check_offer,
    ),
    define("pool.buy_energy", pool.BuyEnergy, pool.buy_energy, callers=callers.SELF),
    define("pool.cancel_trade", pool.CancelTrade, pool.cancel_trade, callers="the seller"),
    define(
        "pool.set_energy_price", pool.SetEnergyPrice, pool.set_energy_price, roles=callers.ADMIN
    ),
)

READS = (
    define_read("pool.get_energy_price", pool_reads.GetEnergyPrice, pool_reads.get_energy_price),
    define_read("pool.get_grid_balance", pool_reads.GetGridBalance, pool_reads.get_grid_balance),
    define_read("pool.get_prosumer_info", pool_reads.GetProsumerInfo, pool_reads.get_prosumer_info),
    define_read("pool.get_operator_lots", pool_reads.GetOperatorLots, pool_reads.get_operator_lots),
    define_read("pool.get_trade_info", pool_reads.GetTradeInfo, pool_reads.get_trade_info),
    define_read("pool.get_open_trades", pool_reads.GetOpenTrades, pool_reads.get_open_trades),
)

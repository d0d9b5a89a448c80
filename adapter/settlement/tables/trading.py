"""trading: orders and their 15-minute batch auctions."""

from adapter.settlement.commands import define, define_read
from adapter.settlement.contracts import (
    anchoring,
    clearing_epoch,
    grants,
    order_reads,
    orders,
    trading_setup,
    upkeep,
)
from adapter.settlement.tables import callers

FUNCTIONS = (
    define(
        "trading.create_sell_order",
        orders.CreateSellOrder,
        orders.create_sell_order,
        callers=callers.SELF,
        precheck=orders.check_sell_order,
    ),
    define(
        "trading.create_buy_order",
        orders.CreateBuyOrder,
        orders.create_buy_order,
        callers=callers.SELF,
        precheck=orders.check_buy_order,
    ),
    define(
        "trading.cancel_order",
        orders.CancelOrder,
        orders.cancel_order,
        callers=f"{callers.SELF}, REGULATOR",
    ),
    define(
        "trading.match_orders",
        clearing_epoch.MatchOrders,
        clearing_epoch.match_orders,
        roles=callers.CLEARING,
    ),
    define(
        "trading.close_epoch",
        anchoring.CloseEpoch,
        anchoring.close_epoch,
        roles=callers.CLEARING,
    ),
    define(
        "trading.add_market_maker",
        grants.AddMarketMaker,
        grants.adding(grants.MARKET_MAKERS),
        roles=callers.ADMIN,
    ),
    define(
        "trading.remove_market_maker",
        grants.RemoveMarketMaker,
        grants.removing(grants.MARKET_MAKERS),
        roles=callers.ADMIN,
    ),
    define(
        "trading.set_contracts",
        trading_setup.SetContracts,
        trading_setup.set_contracts,
        roles=callers.ADMIN,
    ),
)

READS = (
    define_read("trading.get_order", order_reads.GetOrder, order_reads.get_order),
    define_read("trading.get_trade", order_reads.GetTrade, order_reads.get_trade),
    define_read("trading.get_user_orders", order_reads.GetUserOrders, order_reads.get_user_orders),
    define_read("trading.get_order_book", order_reads.GetOrderBook, order_reads.get_order_book),
    define_read("trading.get_epoch", order_reads.GetEpoch, order_reads.get_epoch),
    define_read(
        "trading.get_market_config", order_reads.GetMarketConfig, order_reads.get_market_config
    ),
    define_read("trading.needs_market_clearing", upkeep.CheckUpkeep, upkeep.check_upkeep),
)

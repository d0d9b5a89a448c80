from adapter.domain.errors import AdapterError
from adapter.domain.findings import Finding
from adapter.domain.tariff import TariffPrice
from adapter.protocol.flows import FlowReport
from adapter.protocol.validation import Report
from adapter.public import (
    clear_book,
    compute_tariff,
    evaluate_flows,
    sign_message,
    validate_message,
    verify_message,
)
from adapter.settlement.clearing_orders import ClearedOrders, Order

__all__ = [
    "AdapterError",
    "ClearedOrders",
    "Finding",
    "FlowReport",
    "Order",
    "Report",
    "TariffPrice",
    "clear_book",
    "compute_tariff",
    "evaluate_flows",
    "sign_message",
    "validate_message",
    "verify_message",
]

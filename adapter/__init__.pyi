from adapter.domain.errors import AdapterError
from adapter.domain.findings import Finding
from adapter.domain.tariff import TariffPrice
from adapter.protocol.flows import FlowReport
from adapter.protocol.validation import Report
from adapter.public import (
    compute_tariff,
    evaluate_flows,
    sign_message,
    validate_message,
    verify_message,
)

__all__ = [
    "AdapterError",
    "Finding",
    "FlowReport",
    "Report",
    "TariffPrice",
    "compute_tariff",
    "evaluate_flows",
    "sign_message",
    "validate_message",
    "verify_message",
]

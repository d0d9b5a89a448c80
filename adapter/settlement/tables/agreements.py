"""agreements: bilateral forwards."""

from adapter.settlement.commands import define, define_read
from adapter.settlement.contracts import (
    agreement_reads,
    delivery,
    disputes,
    payments,
    proposal_terms,
    proposals,
    users,
)
from adapter.settlement.tables import callers

FUNCTIONS = (
    define(
        "agreements.initialize",
        proposals.InitializeAgreements,
        proposals.initialize_agreements,
        roles=callers.ADMIN,
    ),
    define(
        "agreements.register_prosumer",
        users.RegisterProsumer,
        users.register_prosumer,
        callers=callers.SELF,
    ),
    define(
        "agreements.create_agreement",
        proposal_terms.CreateAgreement,
        proposals.create_agreement,
        callers=callers.PARTY,
        precheck=proposal_terms.check_terms,
    ),
    define(
        "agreements.accept_agreement",
        proposals.AcceptAgreement,
        proposals.accept_agreement,
        callers="the party that did not propose, or the other by evidence or mandate; a market",
    ),
    define(
        "agreements.deliver_energy",
        delivery.DeliverEnergy,
        delivery.deliver_energy,
        callers="ORACLE_OPERATOR records, the provider claims",
        precheck=delivery.check_claim,
    ),
    define(
        "agreements.accept_delivery",
        delivery.AcceptDelivery,
        delivery.accept_delivery,
        callers=callers.PARTY,
    ),
    define(
        "agreements.settle_payment",
        payments.SettlePayment,
        payments.settle_payment,
        callers=f"{callers.PARTY}, ORACLE_OPERATOR",
    ),
    define(
        "agreements.dispute_transaction",
        disputes.DisputeTransaction,
        disputes.dispute_transaction,
        callers=callers.PARTY,
    ),
    define(
        "agreements.resolve_dispute",
        disputes.ResolveDispute,
        disputes.resolve_dispute,
        roles=callers.REGULATOR,
        precheck=disputes.check_quantity,
    ),
    define(
        "agreements.cancel_agreement",
        proposals.CancelAgreement,
        proposals.cancel_agreement,
        callers=callers.PARTY,
    ),
)

READS = (
    define_read(
        "agreements.get_agreement", agreement_reads.GetAgreement, agreement_reads.get_agreement
    ),
    define_read(
        "agreements.get_transaction",
        agreement_reads.GetTransaction,
        agreement_reads.get_transaction,
    ),
    define_read(
        "agreements.get_transaction_history",
        agreement_reads.GetTransactionHistory,
        agreement_reads.get_transaction_history,
    ),
    define_read(
        "agreements.get_allocations",
        agreement_reads.GetAllocations,
        agreement_reads.get_allocations,
    ),
    define_read(
        "agreements.get_deviations", agreement_reads.GetDeviations, agreement_reads.get_deviations
    ),
)

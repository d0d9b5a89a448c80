"""The one table of contract functions and reads.

Parsing, documents, the HTTP edge and `apply` all read it. A function that is not here does not
exist.
"""

from collections.abc import Mapping
from types import MappingProxyType

from adapter.settlement.commands import Function, Read, define, define_read
from adapter.settlement.contracts import (
    account_reads,
    agreement_reads,
    allowances,
    caps,
    cash,
    delivery,
    expiry,
    genesis,
    grants,
    meters,
    parameters,
    payments,
    proposals,
    readings,
    tokens,
    users,
)
from adapter.settlement.roles import Role

_REGULATOR = (Role.REGULATOR,)
_ADMIN = (Role.ADMIN,)
_TREASURER = (Role.TREASURER,)
_ORACLE = (Role.ORACLE_OPERATOR,)
_SELF = "the user itself or its representative"
_PARTY = "provider or consumer, or its representative"

_REGISTRY = (
    define(
        "registry.initialize", genesis.Initialize, genesis.initialize, callers="the host, entry 0"
    ),
    define("registry.apply_user", users.ApplyUser, users.apply_user, callers=_SELF),
    define("registry.register_user", users.RegisterUser, users.register_user, roles=_REGULATOR),
    define(
        "registry.update_user_status",
        users.UpdateUserStatus,
        users.update_user_status,
        roles=_REGULATOR,
    ),
    define(
        "registry.update_user_type", users.UpdateUserType, users.update_user_type, roles=_REGULATOR
    ),
    define("registry.assign_meter", meters.AssignMeter, meters.assign_meter, roles=_REGULATOR),
    define(
        "registry.unassign_meter", meters.UnassignMeter, meters.unassign_meter, roles=_REGULATOR
    ),
    define(
        "registry.add_rec_regulator",
        grants.AddRecRegulator,
        grants.add_rec_regulator,
        roles=_ADMIN,
    ),
    define(
        "registry.remove_rec_regulator",
        grants.RemoveRecRegulator,
        grants.remove_rec_regulator,
        roles=_ADMIN,
    ),
    define("registry.grant_role", grants.GrantRole, grants.grant_role, roles=_ADMIN),
    define("registry.revoke_role", grants.RevokeRole, grants.revoke_role, roles=_ADMIN),
    define(
        "registry.set_representative",
        users.SetRepresentative,
        users.set_representative,
        callers=f"{_SELF}, REGULATOR",
    ),
    define(
        "registry.set_trade_cap",
        caps.SetTradeCap,
        caps.set_trade_cap,
        roles=(Role.GRID_OPERATOR,),
        precheck=caps.check_slot,
    ),
    define(
        "registry.set_parameter",
        parameters.SetParameter,
        parameters.set_parameter,
        roles=_ADMIN,
        precheck=parameters.check_parameter,
    ),
    define(
        "registry.set_max_meters_per_user",
        parameters.SetMaxMetersPerUser,
        parameters.set_max_meters_per_user,
        roles=_ADMIN,
        precheck=parameters.check_max_meters,
    ),
    define(
        "registry.expire_due",
        expiry.ExpireDue,
        expiry.expire_due,
        roles=(Role.MARKET_MAKER, Role.ORACLE_OPERATOR),
    ),
)

_TOKEN = (
    define("token.mint", tokens.Mint, tokens.mint_tokens, roles=(Role.MINTER,)),
    define("token.burn", tokens.Burn, tokens.burn, roles=(Role.BURNER,)),
    define("token.retire", tokens.Retire, tokens.retire_own, callers=_SELF),
    define("token.transfer", tokens.Transfer, tokens.transfer, callers=_SELF),
    define(
        "token.approve",
        allowances.Approve,
        allowances.approve,
        callers=_SELF,
        precheck=allowances.check_asset,
    ),
    define(
        "token.increase_allowance",
        allowances.IncreaseAllowance,
        allowances.increase_allowance,
        callers=_SELF,
        precheck=allowances.check_asset,
    ),
    define(
        "token.decrease_allowance",
        allowances.DecreaseAllowance,
        allowances.decrease_allowance,
        callers=_SELF,
        precheck=allowances.check_asset,
    ),
    define(
        "token.transfer_from", allowances.TransferFrom, allowances.transfer_from, callers="spender"
    ),
    define(
        "token.transfer_from_to",
        allowances.TransferFrom,
        allowances.transfer_from,
        callers="spender",
    ),
    define("token.add_minter", grants.AddMinter, grants.adding(grants.MINTERS), roles=_ADMIN),
    define(
        "token.remove_minter", grants.RemoveMinter, grants.removing(grants.MINTERS), roles=_ADMIN
    ),
    define("token.add_burner", grants.AddBurner, grants.adding(grants.BURNERS), roles=_ADMIN),
    define(
        "token.remove_burner", grants.RemoveBurner, grants.removing(grants.BURNERS), roles=_ADMIN
    ),
    define(
        "token.set_registry_contract",
        tokens.SetRegistryContract,
        tokens.set_registry_contract,
        roles=_ADMIN,
    ),
    define("token.deposit", cash.Deposit, cash.deposit, roles=_TREASURER),
    define(
        "token.withdraw", cash.Withdraw, cash.withdraw, roles=_TREASURER, precheck=cash.check_whole
    ),
)

_ORACLE_FUNCTIONS = (
    define("oracle.submit_reading", readings.SubmitReading, readings.submit_reading, roles=_ORACLE),
    define(
        "oracle.add_oracle_operator",
        grants.AddOracleOperator,
        grants.adding(grants.ORACLE_OPERATORS),
        roles=_ADMIN,
    ),
    define(
        "oracle.remove_oracle_operator",
        grants.RemoveOracleOperator,
        grants.removing(grants.ORACLE_OPERATORS),
        roles=_ADMIN,
    ),
)

_AGREEMENTS = (
    define(
        "agreements.initialize",
        proposals.InitializeAgreements,
        proposals.initialize_agreements,
        roles=_ADMIN,
    ),
    define(
        "agreements.register_prosumer",
        users.RegisterProsumer,
        users.register_prosumer,
        callers=_SELF,
    ),
    define(
        "agreements.create_agreement",
        proposals.CreateAgreement,
        proposals.create_agreement,
        callers=_PARTY,
        precheck=proposals.check_terms,
    ),
    define(
        "agreements.accept_agreement",
        proposals.AcceptAgreement,
        proposals.accept_agreement,
        callers="the party that did not propose, or the other by mandate",
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
        callers=_PARTY,
    ),
    define(
        "agreements.settle_payment",
        payments.SettlePayment,
        payments.settle_payment,
        callers=f"{_PARTY}, ORACLE_OPERATOR",
    ),
    define(
        "agreements.cancel_agreement",
        proposals.CancelAgreement,
        proposals.cancel_agreement,
        callers=_PARTY,
    ),
)

FUNCTIONS: Mapping[tuple[str, str], Function] = MappingProxyType(
    {
        (function.contract, function.name): function
        for function in (*_REGISTRY, *_TOKEN, *_ORACLE_FUNCTIONS, *_AGREEMENTS)
    }
)
"""Functions that change the ledger, by contract and name."""

_READS = (
    define_read(
        "registry.is_user_verified", account_reads.IsUserVerified, account_reads.is_user_verified
    ),
    define_read("registry.is_prosumer", account_reads.IsProsumer, account_reads.is_prosumer),
    define_read(
        "registry.get_meter_owner", account_reads.GetMeterOwner, account_reads.get_meter_owner
    ),
    define_read(
        "registry.get_user_meters", account_reads.GetUserMeters, account_reads.get_user_meters
    ),
    define_read("registry.get_user_info", account_reads.GetUserInfo, account_reads.get_user_info),
    define_read(
        "registry.get_trade_caps", account_reads.GetTradeCaps, account_reads.get_trade_caps
    ),
    define_read("registry.has_role", account_reads.HasRole, account_reads.has_role),
    define_read("token.balance_of", account_reads.BalanceOf, account_reads.balance_of),
    define_read("token.allowance", account_reads.GetAllowance, account_reads.get_allowance),
    define_read("token.total_supply", account_reads.TotalSupply, account_reads.total_supply),
    define_read("token.token_name", account_reads.TokenName, account_reads.token_name),
    define_read("token.token_symbol", account_reads.TokenSymbol, account_reads.token_symbol),
    define_read("token.token_decimals", account_reads.TokenDecimals, account_reads.token_decimals),
    define_read("token.get_lots", account_reads.GetLots, account_reads.get_lots),
    define_read("oracle.get_reading", agreement_reads.GetReading, agreement_reads.get_reading),
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

READS: Mapping[tuple[str, str], Read] = MappingProxyType(
    {(read.contract, read.name): read for read in _READS}
)
"""Functions that only read, by contract and name."""

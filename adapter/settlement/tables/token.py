"""token: GRID and cash."""

from adapter.settlement.commands import define, define_read
from adapter.settlement.contracts import account_reads, allowances, cash, grants, tokens
from adapter.settlement.roles import Role
from adapter.settlement.tables import callers

FUNCTIONS = (
    define("token.mint", tokens.Mint, tokens.mint_tokens, roles=(Role.MINTER,)),
    define("token.burn", tokens.Burn, tokens.burn, roles=(Role.BURNER,)),
    define("token.retire", tokens.Retire, tokens.retire_own, callers=callers.SELF),
    define("token.transfer", tokens.Transfer, tokens.transfer, callers=callers.SELF),
    define(
        "token.approve",
        allowances.Approve,
        allowances.approve,
        callers=callers.SELF,
        precheck=allowances.check_asset,
    ),
    define(
        "token.increase_allowance",
        allowances.IncreaseAllowance,
        allowances.increase_allowance,
        callers=callers.SELF,
        precheck=allowances.check_asset,
    ),
    define(
        "token.decrease_allowance",
        allowances.DecreaseAllowance,
        allowances.decrease_allowance,
        callers=callers.SELF,
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
    define(
        "token.add_minter", grants.AddMinter, grants.adding(grants.MINTERS), roles=callers.ADMIN
    ),
    define(
        "token.remove_minter",
        grants.RemoveMinter,
        grants.removing(grants.MINTERS),
        roles=callers.ADMIN,
    ),
    define(
        "token.add_burner", grants.AddBurner, grants.adding(grants.BURNERS), roles=callers.ADMIN
    ),
    define(
        "token.remove_burner",
        grants.RemoveBurner,
        grants.removing(grants.BURNERS),
        roles=callers.ADMIN,
    ),
    define(
        "token.set_registry_contract",
        tokens.SetRegistryContract,
        tokens.set_registry_contract,
        roles=callers.ADMIN,
    ),
    define("token.deposit", cash.Deposit, cash.deposit, roles=callers.TREASURER),
    define(
        "token.withdraw",
        cash.Withdraw,
        cash.withdraw,
        roles=callers.TREASURER,
        precheck=cash.check_whole,
    ),
)

READS = (
    define_read("token.balance_of", account_reads.BalanceOf, account_reads.balance_of),
    define_read("token.allowance", account_reads.GetAllowance, account_reads.get_allowance),
    define_read("token.total_supply", account_reads.TotalSupply, account_reads.total_supply),
    define_read("token.token_name", account_reads.TokenName, account_reads.token_name),
    define_read("token.token_symbol", account_reads.TokenSymbol, account_reads.token_symbol),
    define_read("token.token_decimals", account_reads.TokenDecimals, account_reads.token_decimals),
    define_read("token.get_lots", account_reads.GetLots, account_reads.get_lots),
)

"""registry: users, meters, roles, caps, settings, expiry."""

from adapter.settlement.commands import define, define_read
from adapter.settlement.contracts import (
    account_reads,
    caps,
    expiry,
    genesis,
    grants,
    meters,
    parameters,
    users,
)
from adapter.settlement.roles import Role
from adapter.settlement.tables import callers

FUNCTIONS = (
    define(
        "registry.initialize", genesis.Initialize, genesis.initialize, callers="the host, entry 0"
    ),
    define("registry.apply_user", users.ApplyUser, users.apply_user, callers=callers.SELF),
    define(
        "registry.register_user", users.RegisterUser, users.register_user, roles=callers.REGULATOR
    ),
    define(
        "registry.update_user_status",
        users.UpdateUserStatus,
        users.update_user_status,
        roles=callers.REGULATOR,
    ),
    define(
        "registry.update_user_type",
        users.UpdateUserType,
        users.update_user_type,
        roles=callers.REGULATOR,
    ),
    define(
        "registry.assign_meter", meters.AssignMeter, meters.assign_meter, roles=callers.REGULATOR
    ),
    define(
        "registry.unassign_meter",
        meters.UnassignMeter,
        meters.unassign_meter,
        roles=callers.REGULATOR,
    ),
    define(
        "registry.add_rec_regulator",
        grants.AddRecRegulator,
        grants.add_rec_regulator,
        roles=callers.ADMIN,
    ),
    define(
        "registry.remove_rec_regulator",
        grants.RemoveRecRegulator,
        grants.remove_rec_regulator,
        roles=callers.ADMIN,
    ),
    define("registry.grant_role", grants.GrantRole, grants.grant_role, roles=callers.ADMIN),
    define("registry.revoke_role", grants.RevokeRole, grants.revoke_role, roles=callers.ADMIN),
    define(
        "registry.set_representative",
        users.SetRepresentative,
        users.set_representative,
        callers=f"{callers.SELF}, REGULATOR",
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
        roles=callers.ADMIN,
        precheck=parameters.check_parameter,
    ),
    define(
        "registry.set_max_meters_per_user",
        parameters.SetMaxMetersPerUser,
        parameters.set_max_meters_per_user,
        roles=callers.ADMIN,
        precheck=parameters.check_max_meters,
    ),
    define(
        "registry.expire_due",
        expiry.ExpireDue,
        expiry.expire_due,
        roles=(Role.MARKET_MAKER, Role.ORACLE_OPERATOR),
    ),
)

READS = (
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
)

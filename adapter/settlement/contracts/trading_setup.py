"""trading.set_contracts: the function of the older designs, which rewires nothing here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from adapter.settlement.kinds import ID
from adapter.settlement.refusals import refusal
from adapter.settlement.work import Work

HOSTED = (("registry", "REGISTRY_NOT_SET"), ("token", "TOKEN_NOT_SET"))
"""The contracts that trading stands on, and the code for any other."""


@dataclass(frozen=True, slots=True)
class SetContracts:
    """Confirm the registry and token that trading uses; they are the hosted ones."""

    registry: Annotated[str, ID]
    token: Annotated[str, ID]


def set_contracts(work: Work, args: SetContracts) -> Mapping[str, Any]:
    """Accept the hosted contracts and nothing else."""
    for name, code in HOSTED:
        if getattr(args, name) != name:
            raise refusal(code, f"trading uses the {name} of this ledger, named {name!r}")
    work.emit("ContractsConfigured", {})
    return {"registry": args.registry, "token": args.token}

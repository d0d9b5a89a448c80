"""Answers of `/contracts`, as `/openapi.json` describes them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class CallModel(BaseModel):
    """The receipt of an accepted command."""

    command_id: str
    seq: int = Field(description="Journal entry that holds it.")
    entry_hash: str
    replayed: bool = Field(description="It had been done before; nothing else happened.")
    result: dict[str, Any]
    events: list[dict[str, Any]]


class ReadModel(BaseModel):
    """The answer of a read."""

    seq: int = Field(description="Last entry of the state that was read.")
    result: Any


class EventPageModel(BaseModel):
    """Events that the caller may see, in order."""

    events: list[dict[str, Any]]
    next: str | None = Field(description="Value of `after` for the next page.")


class StateModel(BaseModel):
    """Where the ledger stands; amounts as decimal strings."""

    model_config = ConfigDict(extra="allow")

    seq: int
    head: str | None = Field(description="Hash of the last entry.")
    totals: dict[str, str] = Field(default_factory=dict)


class FunctionModel(BaseModel):
    """One function or read."""

    name: str
    kind: Literal["function", "read"]
    summary: str
    callers: str
    arguments: dict[str, Any] = Field(description="JSON schema of the arguments.")


class ListModel(BaseModel):
    """All functions and reads, by contract."""

    contracts: dict[str, list[FunctionModel]]


class StatementModel(BaseModel):
    """A root statement: what its host says about all entries up to the end of an epoch."""

    type: Literal["p2ptrade.root.v1"]
    ledger: str
    first_epoch: int
    last_epoch: int
    first_seq: int
    last_seq: int
    head: str = Field(description="Hash of entry `last_seq`.")
    root: str = Field(description="Merkle root of the entries `first_seq` to `last_seq`.")
    state_root: str = Field(description="Digest of all balances after entry `last_seq`.")
    prev_statement: str = Field(description="Hash of the statement before; zeros for none.")
    time: int


class CountersignatureModel(BaseModel):
    """What a party signed about a statement it has checked."""

    key_id: str = Field(description="`subscriber|key|ed25519`")
    public_key: str
    signature: str = Field(
        description="Over `p2ptrade.countersignature.v1`, LF and the canonical bytes of"
        " `{key_id, statement}`, the latter being the statement's hash."
    )


class SignedRootModel(BaseModel):
    """A statement with its signatures."""

    statement: StatementModel
    signature: str = Field(
        description="Of the host, over `p2ptrade.root.v1`, LF and the canonical statement."
    )
    countersignatures: list[CountersignatureModel]


class RootPageModel(BaseModel):
    """Signed statements in order of epochs."""

    ledger: str
    key_id: str = Field(description="Key of the host's signatures.")
    roots: list[SignedRootModel]
    next: int | None = Field(description="Value of `after` for the next page.")


class ProofModel(BaseModel):
    """A bundle for `p2ptrade ledger check-proof`; the answer is its canonical bytes."""

    model_config = ConfigDict(extra="allow")

    type: Literal["p2ptrade.proof.v1"]
    kind: Literal["agreement", "trade"]
    id: str
    entries: list[dict[str, Any]]
    roots: list[SignedRootModel]
    derived: dict[str, Any]

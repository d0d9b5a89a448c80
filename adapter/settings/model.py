"""The sections of node.yaml and what each key may hold.

The description of a field is what the one-line error says is allowed.
"""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from adapter.domain.parties import NodeRole
from adapter.protocol.acks import PROFILES
from adapter.protocol.policy import POLICIES, Policy, read_policy
from adapter.protocol.signature import MAX_LIFETIME_S
from adapter.settings.values import (
    DatabaseUrl,
    HostPort,
    IpNetwork,
    is_loopback_host,
    read_base_url,
    read_contracts_host,
    read_database_url,
    read_duration_ms,
    read_host_port,
    read_network,
    read_rate_per_s,
    read_time_zone,
)

_ID = r"^[A-Za-z0-9._:-]{1,255}$"
_ID_ALLOWED = "1 to 255 characters of A-Z a-z 0-9 . _ : -"
_DURATION_ALLOWED = "an ISO 8601 duration such as PT30S"

BaseUrl = Annotated[str, BeforeValidator(read_base_url)]
DurationMs = Annotated[int, BeforeValidator(read_duration_ms)]
Network = Annotated[IpNetwork, BeforeValidator(read_network)]


class Section(BaseModel):
    """One section; unknown keys are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, populate_by_name=False
    )


class NodeSettings(Section):
    """Who the node is and where it listens."""

    subscriber_id: str = Field(pattern=_ID, description=_ID_ALLOWED)
    key_id: str = Field(pattern=_ID, description=_ID_ALLOWED)
    seed_file: Path = Field(description="path of a file made by `p2ptrade keys new`")
    roles: tuple[NodeRole, ...] = Field(description="a list out of bap, bpp, grid_operator, market")
    base_url: BaseUrl = Field(description="an absolute http or https URL")
    bind: Annotated[HostPort, BeforeValidator(read_host_port), NoDecode] = Field(
        description="host:port, such as 127.0.0.1:8102"
    )
    clock_file: Path | None = Field(
        default=None,
        description="path of a file with seconds; only when bind is a loopback address",
    )

    @model_validator(mode="before")
    @classmethod
    def _bind_to_loopback(cls, values: Any) -> Any:
        """Listen on 127.0.0.1, at the port of base_url, unless told otherwise."""
        if not isinstance(values, Mapping) or "bind" in values:
            return values
        try:
            parts = urlsplit(read_base_url(values.get("base_url")))
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            port = 80  # base_url is reported by its own check
        return {**values, "bind": f"127.0.0.1:{port}"}

    @property
    def is_public(self) -> bool:
        """Return whether base_url is anything but loopback; public nodes need https."""
        return not is_loopback_host(urlsplit(self.base_url).hostname or "")


class DatabaseSettings(Section):
    """Where the node keeps its state."""

    url: Annotated[DatabaseUrl, BeforeValidator(read_database_url), NoDecode] = Field(
        description="sqlite:///relative, sqlite:////absolute or postgresql://user@host/db"
    )


class RegistrySettings(Section):
    """Where the node learns about participants."""

    kind: Literal["static", "lookup", "dedi"] = Field(description="static, lookup or dedi")
    file: Path | None = Field(
        default=None, description="path of network.yaml; needed for kind static and for serve"
    )
    url: BaseUrl | None = Field(
        default=None, description="https URL of the registry; needed for kind lookup and dedi"
    )
    serve: bool = Field(default=False, description="true or false")


class CascadeSettings(Section):
    """Whether confirmed trades are registered with a grid operator."""

    grid_operator: str | None = Field(
        default=None, pattern=_ID, description="subscriber id; only on a bpp or market node"
    )


class ClearingSettings(Section):
    """Where the books of a market are cleared."""

    executor: Literal["inline", "processes", "dask"] = Field(
        default="inline", description="inline, processes or dask"
    )
    workers: int = Field(default=2, ge=1, le=256, description="a whole number from 1 to 256")
    scheduler: str | None = Field(
        default=None,
        pattern=r"^(tcp|tls)://[^\s/]+:\d+$",
        description="address of a Dask scheduler such as tcp://10.1.0.2:8786; only with dask",
    )
    from_orders: int = Field(default=50_000, ge=1, description="a whole number from 1 on")


class ContractsSettings(Section):
    """Where the contract layer runs."""

    host: Annotated[str, BeforeValidator(read_contracts_host)] | None = Field(
        default=None, description="here, or the base URL of the node that hosts the contract layer"
    )
    genesis: Path | None = Field(
        default=None, description="path of genesis.yaml; only when host is here"
    )
    clearing: ClearingSettings = Field(
        default_factory=ClearingSettings,
        description="a map with executor, workers, scheduler, from_orders",
    )


class AccessSettings(Section):
    """Who may call the application endpoints."""

    tokens_file: Path | None = Field(default=None, description="path of a YAML list of tokens")


class ProtocolRules(Section):
    """How the node speaks with one peer. Meaning of the keys: protocol specification."""

    dialect: Literal["draft"] = Field(default="draft", description="draft")
    ack_profile: str = Field(
        default="onix", pattern=f"^({'|'.join(PROFILES)})$", description=" or ".join(PROFILES)
    )
    ttl_ms: DurationMs = Field(default=30_000, alias="ttl", description=_DURATION_ALLOWED)
    policy: Annotated[Policy | None, BeforeValidator(read_policy)] = Field(
        default=None,
        description=f"none, {', '.join(POLICIES)}, or a map of demands, see docs/rules.md",
    )
    clock_skew_ms: DurationMs = Field(
        default=5_000, alias="clock_skew", description=_DURATION_ALLOWED
    )
    signature_lifetime_ms: DurationMs = Field(
        default=300_000,
        alias="signature_lifetime",
        ge=1_000,
        le=MAX_LIFETIME_S * 1_000,
        description="an ISO 8601 duration from PT1S to PT3600S",
    )
    callback_signature: Literal["plain", "bound", "bound_header"] = Field(
        default="plain", description="plain, bound or bound_header"
    )
    digest_labels: tuple[Literal["BLAKE-512=", "BLAKE2b-512="], ...] = Field(
        default=("BLAKE-512=", "BLAKE2b-512="),
        min_length=1,
        description="a list out of BLAKE-512= and BLAKE2b-512=",
    )
    require_ack_signature: bool = Field(default=False, description="true or false")
    replay: Literal["repeat", "reject"] = Field(default="repeat", description="repeat or reject")
    inbox_retention_ms: DurationMs = Field(
        default=7 * 86_400_000, alias="inbox_retention", description=_DURATION_ALLOWED
    )
    correlate: Literal["message", "transaction"] = Field(
        default="message", description="message or transaction"
    )
    rate_limit_per_s: Annotated[Decimal | None, BeforeValidator(read_rate_per_s)] = Field(
        default=None, alias="rate_limit", description="none, or requests per second"
    )
    domains: tuple[str, ...] = Field(default=(), description="a list of domains")
    networks: tuple[str, ...] = Field(default=(), description="a list of network ids")
    allow_http: bool = Field(default=False, description="true or false")
    allow_networks: tuple[Network, ...] = Field(
        default=(), description="a list of IP networks such as 10.1.0.0/16"
    )
    time_zone: Annotated[str, BeforeValidator(read_time_zone)] = Field(
        default="UTC", description="an IANA time zone such as Asia/Kolkata"
    )


class ProtocolSettings(ProtocolRules):
    """The rules for everybody and, as overrides, for single peers."""

    peers: dict[str, ProtocolRules] = Field(
        default_factory=dict, description="overrides of the keys of protocol, by subscriber id"
    )

    @model_validator(mode="before")
    @classmethod
    def _complete_peers(cls, values: Any) -> Any:
        """Let every peer's overrides stand upon the common rules."""
        peers = values.get("peers") if isinstance(values, Mapping) else None
        if not isinstance(peers, Mapping):
            return values
        common = {key: value for key, value in values.items() if key != "peers"}
        completed = {
            peer: common | dict(own) if isinstance(own, Mapping) else own
            for peer, own in peers.items()
        }
        return {**values, "peers": completed}

    def for_peer(self, subscriber_id: str | None) -> ProtocolRules:
        """Return the rules for one peer, the common ones for an unknown or unnamed one."""
        return self.peers.get(subscriber_id or "", self)


class Settings(BaseSettings):
    """Everything a node is told at its start."""

    model_config = SettingsConfigDict(
        env_prefix="P2PTRADE_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
    )

    node: NodeSettings = Field(description="a section, see the documentation of node.yaml")
    database: DatabaseSettings = Field(description="a section with url")
    registry: RegistrySettings = Field(description="a section with kind and file or url")
    cascade: CascadeSettings = Field(
        default_factory=CascadeSettings, description="a section with grid_operator"
    )
    contracts: ContractsSettings = Field(
        default_factory=ContractsSettings, description="a section with host and genesis"
    )
    access: AccessSettings = Field(
        default_factory=AccessSettings, description="a section with tokens_file"
    )
    protocol: ProtocolSettings = Field(
        default_factory=ProtocolSettings, description="a section, see the documentation"
    )

    @property
    def hosts_contracts(self) -> bool:
        """Return whether the contract layer runs here: as told, else on a grid operator's node."""
        host = self.contracts.host
        return host == "here" or (host is None and NodeRole.GRID_OPERATOR in self.node.roles)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, and read nothing else."""
        return env_settings, init_settings

    def in_folder(self, folder: Path) -> Self:
        """Return the same settings with relative paths taken from `folder`."""
        node = self.node.model_copy(
            update={
                "seed_file": folder / self.node.seed_file,
                "clock_file": _below(folder, self.node.clock_file),
            }
        )
        database, path = self.database, self.database.url.path
        if path is not None:
            url = DatabaseUrl("sqlite", f"sqlite:///{folder / path}", folder / path)
            database = database.model_copy(update={"url": url})
        moved = {
            "node": node,
            "database": database,
            "registry": _moved(self.registry, folder, "file"),
            "contracts": _moved(self.contracts, folder, "genesis"),
            "access": _moved(self.access, folder, "tokens_file"),
        }
        return self.model_copy(update=moved)


def _below(folder: Path, path: Path | None) -> Path | None:
    return None if path is None else folder / path


def _moved(section: Section, folder: Path, key: str) -> Section:
    return section.model_copy(update={key: _below(folder, getattr(section, key))})

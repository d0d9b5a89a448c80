"""Where ports meet implementations: settings in, a node out.

A node is a value; nothing here is kept at module level, so one event loop can run several.
"""

import asyncio
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import yaml

from adapter.domain.errors import WireError
from adapter.domain.parties import NodeRole
from adapter.protocol.decision import Identity
from adapter.protocol.schemas import Schemas
from adapter.protocol.signature import Signer
from adapter.service.catalogue import Catalogue
from adapter.service.contracts import ContractCalls
from adapter.service.cosigner import Cosigner
from adapter.service.dead_letters import DeadLetters
from adapter.service.head_watch import HeadWatch
from adapter.service.inbound import Inbound
from adapter.service.journal_watch import JournalWatch, watched
from adapter.service.ledger_host import LedgerHost
from adapter.service.offer_check import offer_check
from adapter.service.originate import Originator
from adapter.service.outbound import Outbound, OutboundParts
from adapter.service.parts import NodeParts
from adapter.service.ports import Clock, Ids, Registry, Sender, Store
from adapter.service.queries import Queries
from adapter.service.rate import RateLimits
from adapter.service.settle import settle_intent
from adapter.service.siblings import ALONE, News, Siblings
from adapter.service.signing import MessageSigner
from adapter.service.timers import Timers
from adapter.service.unit import Units
from adapter.service.waiters import Waiters
from adapter.settings import Settings, SettingsError
from adapter.store.documents import load_bundle
from adapter.store.errors import NEEDS_EXTRA
from adapter.store.ledger_memory import MemoryLedger
from adapter.store.sqlite import SqliteStore
from adapter.transport.address_guard import AddressGuard
from adapter.transport.clock import SystemClock
from adapter.transport.executors import NEEDS_DASK, dask_cluster, process_pool
from adapter.transport.http_sender import HttpSender
from adapter.transport.ids import RandomIds
from adapter.transport.key_cache import CachedRegistry
from adapter.transport.key_files import read_seed, refuse_sample_seed
from adapter.transport.ledger_host import HttpLedgerHost
from adapter.transport.registry_dedi import DediRegistry
from adapter.transport.registry_lookup import LookupRegistry
from adapter.transport.registry_static import StaticRegistry
from adapter.transport.verifier import SlicingVerifier

if TYPE_CHECKING:
    from adapter.transport.clearing_pool import ClearingPool

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Node:
    """One running node: its use cases and its tasks."""

    settings: Settings
    parts: NodeParts
    inbound: Inbound
    originator: Originator
    queries: Queries
    catalogue: Catalogue
    dead_letters: DeadLetters
    contracts: ContractCalls | None
    """None where the contract layer is not hosted."""
    journal: JournalWatch
    cosigner: Cosigner | None
    """Only where the contract layer is hosted by another node."""
    outbound: Outbound
    timers: Timers
    waiters: Waiters
    siblings: Siblings
    registry_records: StaticRegistry | None
    """The records this node serves to others, if it is a registry."""
    genesis: Mapping[str, Any] | None
    _closing: "_Closing"
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _listening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the ledger if it is new and begin to send and to tick."""
        await self._learn_key_end()
        if self.contracts is not None:
            await self.contracts.open(self.genesis)
            await self.journal.look()
        self._tasks = [
            asyncio.create_task(self.outbound.run(), name="outbox"),
            asyncio.create_task(self.timers.run(), name="timers"),
        ]
        if self.contracts is not None:
            self._tasks.append(asyncio.create_task(self.journal.run(), name="journal"))
        if self.cosigner is not None:
            self._tasks.append(asyncio.create_task(self.cosigner.run(), name="cosigner"))
        self._listening = asyncio.create_task(self.siblings.run(self._hear), name="news")

    async def _learn_key_end(self) -> None:
        """Let no signature outlive our key, as far as the registry says when that ends."""
        node = self.settings.node
        try:
            record = await self.parts.registry.key(node.subscriber_id, node.key_id)
        except WireError as error:
            _log.warning("our own key is not in the registry yet", extra={"code": error.code})
        else:
            self.parts.signer.ends_at(record.valid_until_ms)

    def _hear(self, news: News) -> None:
        """Let those look who wait for what another process has done."""
        if news.is_help_wanted:
            self.outbound.wake()
        if news.transaction_ids is None:
            self.waiters.notify_all()
        for transaction_id in news.transaction_ids or ():
            self.waiters.notify(transaction_id)
        if self.contracts is not None:
            self.contracts.heads.notify()
            self.journal.hear(news.transaction_ids)

    async def stop(self) -> None:
        """Finish what is under way; what is unsent stays in the outbox."""
        self.timers.stop()
        self.journal.stop()
        if self.cosigner is not None:
            self.cosigner.stop()
        await self.outbound.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.siblings.stop()
        if self._listening is not None:
            await asyncio.gather(self._listening, return_exceptions=True)
        if self._closing.clearing is not None:  # before the store, whose writer may wait for it
            await asyncio.to_thread(self._closing.clearing.close)
        await self.parts.store.close()
        await self._closing.http.close()
        self._closing.verifier.close()


@dataclass(frozen=True, slots=True)
class Ports:
    """Implementations to use instead of the usual ones."""

    clock: Clock | None = None
    ids: Ids | None = None
    sender: Sender | None = None
    ledger_host: LedgerHost | None = None


def build_node(settings: Settings, ports: Ports = Ports()) -> Node:  # frozen
    """Return the node that the settings describe; nothing runs yet.

    Raises:
        SettingsError, KeyFileError, RegistryFileError, StoreError: what stops the start.
    """
    clock = ports.clock or SystemClock(settings.node.clock_file)
    verifier = SlicingVerifier()
    rules = settings.protocol
    on_loopback = not settings.node.is_public
    guard = AddressGuard(allow_loopback=on_loopback, allow_networks=rules.allow_networks)
    http = HttpSender(guard)
    seed = read_seed(settings.node.seed_file)
    refuse_sample_seed(seed, on_loopback=settings.node.bind.is_loopback)
    signer = Signer(settings.node.subscriber_id, settings.node.key_id, seed)
    clearing = _clearing(settings)
    parts = NodeParts(
        me=Identity(settings.node.subscriber_id, settings.node.base_url.rstrip("/")),
        roles=frozenset(settings.node.roles),
        grid_operator=settings.cascade.grid_operator,
        store=_store(settings),
        registry=_registry(settings, clock, http),
        verifier=verifier,
        signer=MessageSigner(signer, clock),
        clock=clock,
        ids=ports.ids or RandomIds(),
        schemas=Schemas(load_bundle()),
        rules_for=rules.for_peer,
        allow_http=on_loopback or rules.allow_http,
        clear_books=clearing,
    )
    host = ports.ledger_host or _ledger_host(settings, parts, http)
    siblings = _siblings(settings)
    cosigner = None if host is None else Cosigner(parts, host, siblings)
    closing = _Closing(http, verifier, clearing)
    return _assemble(settings, parts, ports.sender or http, (siblings, cosigner), closing)


@dataclass(frozen=True, slots=True)
class _Closing:
    """What must be closed at the end."""

    http: HttpSender
    verifier: SlicingVerifier
    clearing: "ClearingPool | None"


def _assemble(
    settings: Settings,
    parts: NodeParts,
    sender: Sender,
    others: tuple[Siblings, Cosigner | None],
    closing: _Closing,
) -> Node:
    siblings, cosigner = others
    waiters = Waiters()
    journal = JournalWatch(parts.store, siblings)
    units = Units(parts, watched(journal, settle_intent))
    outbound = Outbound(
        OutboundParts(
            store=parts.store,
            registry=parts.registry,
            sender=sender,
            verifier=parts.verifier,
            signer=parts.signer,
            clock=parts.clock,
            random_below=secrets.randbelow,
            rules_for=settings.protocol.for_peer,
            on_end=units.row_ended,
            told=waiters.notify,
            allow_http=parts.allow_http,
        )
    )

    heads = HeadWatch(parts.store)

    def committed(transaction_id: str, *, is_step: bool = False) -> None:
        outbound.wake()
        waiters.notify(transaction_id, is_step=is_step)
        heads.notify()
        siblings.tell(transaction_id, is_help_wanted=outbound.is_full)

    contracts = None
    if _hosts(settings):
        contracts = ContractCalls(parts, units, committed, heads, journal, MemoryLedger)
    rates = RateLimits(lambda peer: settings.protocol.for_peer(peer).rate_limit_per_s)
    return Node(
        settings=settings,
        parts=parts,
        inbound=Inbound(parts, units, committed, rates),
        originator=Originator(parts, units, committed, waiters),
        queries=Queries(parts.store, parts.rules_for),
        catalogue=Catalogue(
            parts.store, offer_check(parts.me, parts.schemas, settings.protocol.time_zone)
        ),
        dead_letters=DeadLetters(parts.store, parts.clock, committed),
        contracts=contracts,
        journal=journal,
        cosigner=cosigner,
        outbound=outbound,
        timers=Timers(
            parts, units, contracts, committed, settings.protocol.inbox_retention_ms, siblings
        ),
        waiters=waiters,
        siblings=siblings,
        registry_records=_served_records(settings, parts),
        genesis=_genesis(settings),
        _closing=closing,
    )


def _ledger_host(settings: Settings, parts: NodeParts, http: HttpSender) -> LedgerHost | None:
    host = settings.contracts.host
    if host is None or settings.hosts_contracts:
        return None
    return HttpLedgerHost(host, http, parts.signer)


def _hosts(settings: Settings) -> bool:
    if not settings.hosts_contracts and NodeRole.GRID_OPERATOR in settings.node.roles:
        msg = "contracts.host: a grid_operator node hosts its contract layer itself: use 'here'"
        raise SettingsError(msg)
    return settings.hosts_contracts


def _store(settings: Settings) -> Store:
    url = settings.database.url
    if url.path is not None:
        return SqliteStore(url.path)
    try:
        from adapter.store.postgres import PostgresStore  # needs an extra
    except ImportError:
        msg = f"database.url: {NEEDS_EXTRA}"
        raise SettingsError(msg) from None
    return PostgresStore(url.url)


def _siblings(settings: Settings) -> Siblings:
    url = settings.database.url
    if url.path is not None:
        return ALONE
    from adapter.store.postgres_siblings import PostgresSiblings  # needs an extra

    return PostgresSiblings(url.url)


def _clearing(settings: Settings) -> "ClearingPool | None":
    """Return what clears large books outside of this process, if anything does."""
    section = settings.contracts.clearing
    if section.executor == "inline":
        return None
    from adapter.transport.clearing_pool import ClearingPool  # needs NumPy

    opened = partial(process_pool, section.workers)
    if section.executor == "dask":
        if find_spec("distributed") is None:
            msg = f"contracts.clearing.executor = dask: {NEEDS_DASK}"
            raise SettingsError(msg)
        assert section.scheduler is not None
        opened = partial(dask_cluster, section.scheduler)
    return ClearingPool(opened, section.workers, section.from_orders)


def _registry(settings: Settings, clock: Clock, sender: HttpSender) -> Registry:
    section = settings.registry
    if section.kind == "static":
        assert section.file is not None
        return StaticRegistry(section.file, clock)
    assert section.url is not None
    is_lookup = section.kind == "lookup"
    source = LookupRegistry(section.url, sender) if is_lookup else DediRegistry(section.url, sender)
    return CachedRegistry(source, clock)


def _served_records(settings: Settings, parts: NodeParts) -> StaticRegistry | None:
    if not settings.registry.serve:
        return None
    if isinstance(parts.registry, StaticRegistry):
        return parts.registry
    assert settings.registry.file is not None
    return StaticRegistry(settings.registry.file, parts.clock)


def _genesis(settings: Settings) -> Mapping[str, Any] | None:
    """Return the genesis document; its decimals stay text, so that no digit is lost."""
    file = settings.contracts.genesis
    if file is None:
        return None
    try:
        document = yaml.load(file.read_text(), Loader=_TextNumbers)  # a safe loader
    except (OSError, yaml.YAMLError) as error:
        msg = f"contracts.genesis: {file} cannot be read: {error}"
        raise SettingsError(msg) from None
    if not isinstance(document, dict):
        msg = f"contracts.genesis: {file} is no mapping"
        raise SettingsError(msg)
    return document


class _TextNumbers(yaml.CSafeLoader):
    """The safe loader with decimals left as text."""


yaml.add_constructor(
    "tag:yaml.org,2002:float", yaml.SafeLoader.construct_yaml_str, Loader=_TextNumbers
)

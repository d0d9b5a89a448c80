"""The one pipeline that every signed message takes.

    web/network  1 HTTP
    here         2 parse, context   3 signature, signer   5 callback URL   6 schema   7 rules
                 9 unit of work, which begins with 4 known message, 5 context against state
                10 signed answer

The first stage that refuses ends it. Stages 1 to 7 store nothing; the unit of work stores the
message, its effects and its answer together. Source: protocol specification, section 8.
"""

import logging
from collections.abc import Mapping
from typing import Any

from adapter.domain.errors import WireError
from adapter.domain.findings import Finding, Severity
from adapter.domain.parties import NodeRole, Side
from adapter.domain.trade import Peer
from adapter.protocol import strict_json
from adapter.protocol.acks import Acknowledgement, MessageIds, nack
from adapter.protocol.actions import WITHOUT_CONTRACT, Action
from adapter.protocol.callback_url import check_callback_url
from adapter.protocol.contract import CONTRACT_PATH
from adapter.protocol.digest import body_digest
from adapter.protocol.discover import wish_of
from adapter.protocol.envelope import Envelope, check_context, is_judgeable, make_envelope
from adapter.protocol.policy import check_policy_of
from adapter.protocol.rules import Message, check_read
from adapter.protocol.signature import (
    FOUR_FIELDS,
    SignatureHeader,
    candidate_strings,
    check_times,
    missing_signature,
    parse_header,
    signature_value,
)
from adapter.service.foreseen import foreseen
from adapter.service.inbound_reply import Headers, InboundReply, values_of
from adapter.service.parts import NodeParts, PeerRules
from adapter.service.placing import ROLES_OF, Places
from adapter.service.ports import UnitOfWork
from adapter.service.rate import RateLimits
from adapter.service.trust import trusted_signer
from adapter.service.unit import Arrival, Taken, Units
from adapter.service.waiters import Committed, is_decided

_RETRY_AFTER_S = 1

_log = logging.getLogger(__name__)


class Inbound:
    """Receives messages for one node."""

    def __init__(
        self, parts: NodeParts, units: Units, committed: Committed, rates: RateLimits
    ) -> None:
        """Take the node's parts, its units of work, and whom to tell about a commit.

        `committed` gets the transaction whose trade may have changed.
        """
        self._parts = parts
        self._units = units
        self._committed = committed
        self._rates = rates
        self._places = Places(parts)
        takes_callbacks = NodeRole.BAP in parts.roles or parts.cascades
        self._served = {
            ("bap" if action.is_callback else "bpp", action.value): action
            for action in Action
            if (takes_callbacks if action.is_callback else ROLES_OF[action] & parts.roles)
        }

    def serves(self, receiver: str, action: str) -> bool:
        """Return whether this node takes `action` on `/bap/receiver` or `/bpp/receiver`."""
        return (receiver, action) in self._served

    async def receive(
        self, receiver: str, action: str, headers: Headers, body: bytes
    ) -> InboundReply:
        """Return the signed answer to a message; never raises.

        Args:
            receiver: bap or bpp, from the path.
            action: a name for which `serves` is true.
            headers: of the request.
            body: bounded bytes.
        """
        parts = self._parts
        message = _Message(self._served[receiver, action], headers, body, parts)
        try:
            answer = await self._take(message)
        except WireError as error:
            return self._refusal(message, error)
        except Exception:
            _log.exception("bug while receiving", extra=message.log_fields())
            fault = WireError("NET_INTERNAL_ERROR", "a fault of this node; send it again later")
            return self._refusal(message, fault)
        _log.info("answered %s", answer.status, extra=message.log_fields())
        return self._signed(message, answer, [])

    async def _take(self, message: "_Message") -> Acknowledgement:
        envelope, unreadable = self._read(message)
        rules = message.rules if envelope is not None else self._parts.rules_for("")
        signer_id = await self._authenticate(message, envelope, rules)
        if envelope is None:
            raise unreadable or WireError(
                "SCH_SCHEMA_VALIDATION_FAILED",
                "a message is an object with the objects context and message",
                path="$",
            )
        if signer_id != envelope.sender.subscriber_id:
            msg = f"the signer is {signer_id}, the context says {envelope.sender.subscriber_id}"
            raise WireError("AUT_UNAUTHORIZED_ACTION", msg[:300], path="$.context")
        self._rates.count(signer_id, self._parts.clock.now_ms())
        stored = await self._stored_or_refused(message, envelope)
        if stored is not None:
            return stored
        arrival = Arrival(
            envelope=envelope,
            authorization=message.authorization,
            received_us=message.received_us,
            ack_profile=rules.ack_profile,
            reject_replay=rules.replay == "reject",
            operator=await self._operator(message),
        )
        taken, is_step = await self._parts.store.write(
            lambda uow: self._stored(uow, arrival),
            brief=True,
            about=foreseen(self._parts, envelope),
        )
        self._committed(taken.transaction_id, is_step=is_step)
        return taken.answer

    def _stored(self, uow: UnitOfWork, arrival: Arrival) -> tuple[Taken, bool]:
        """Take a message in its unit of work; return also whether our trade is still undecided."""
        taken = self._units.take(uow, arrival)
        if not arrival.envelope.action.is_callback or NodeRole.BAP not in self._parts.roles:
            return taken, False
        trade = uow.trade(Side.BAP, taken.transaction_id)  # at hand, this unit has just had it
        return taken, trade is not None and not is_decided(trade)

    async def _stored_or_refused(
        self, message: "_Message", envelope: Envelope
    ) -> Acknowledgement | None:
        """Run stages 5 to 7 on a message; return its stored answer if a repeat fails in them.

        Stage 4 counts before them, but it needs the database, and nearly every message passes
        them all: then the unit of work looks for a known message and nothing is read here. Only
        a message that is about to be refused is looked for first.

        Raises:
            WireError: the first refusal in the order of the stages.
        """
        try:
            if not message.action.is_callback:
                await self._check_callback_url(message, envelope)
            self._check_content(envelope, message.rules)
        except WireError:
            place = await self._parts.store.read(lambda uow: self._places.place(uow, envelope))
            if place.known is None:
                raise
            if message.rules.replay == "reject" or place.undelivered is not None:
                return None  # there is something to write
            return Acknowledgement(place.known.http_status, place.known.reply)
        return None

    # Stage 2

    def _read(self, message: "_Message") -> tuple[Envelope | None, WireError | None]:
        """Return the envelope, or why there is none, which counts only after the signature.

        Raises:
            WireError: CTX_ codes, and AUT_DOMAIN_NOT_ALLOWED.
        """
        try:
            body = strict_json.decode_object(message.body)
        except WireError as error:
            return None, error
        message.note(body)
        if not is_judgeable(body):
            return None, None
        rules = message.rules
        times = check_context(
            body["context"],
            message.action,
            me=self._parts.me.subscriber_id,
            now_ms=message.now_ms,
            skew_ms=rules.clock_skew_ms,
        )
        domain = body["context"].get("domain")
        if rules.domains and domain not in rules.domains:
            msg = f"domain {str(domain)[:40]!r} is not one of {', '.join(rules.domains)}"
            raise WireError("AUT_DOMAIN_NOT_ALLOWED", msg, path="$.context.domain")
        return make_envelope(body, message.body, message.action, times, message.digest), None

    # Stage 3

    async def _authenticate(
        self, message: "_Message", envelope: Envelope | None, rules: PeerRules
    ) -> str:
        """Return who signed the message; also judge a gateway's signature if there is one.

        Raises:
            WireError: AUT_ codes, NET_DOWNSTREAM_UNAVAILABLE.
        """
        signer_id = await self._signer(message, message.authorizations, envelope, rules)
        gateways = values_of(message.headers, b"x-gateway-authorization")
        if gateways:
            message.by_gateway = True
            await self._signer(message, gateways, envelope, rules)
            message.by_gateway = False
        return signer_id

    async def _signer(
        self, message: "_Message", values: list[str], envelope: Envelope | None, rules: PeerRules
    ) -> str:
        if not values:
            raise missing_signature()
        if len(values) > 1:
            name = "x-gateway-authorization" if message.by_gateway else "authorization"
            msg = f"exactly one {name} header is expected"
            raise WireError("AUT_SIGNATURE_INVALID", msg)
        header = parse_header(values[0])
        if not message.by_gateway:
            message.signature = header.signature
        if header.headers == FOUR_FIELDS and not message.action.is_callback:
            msg = "a request signs (created) (expires) digest"
            raise WireError("AUT_SIGNATURE_INVALID", msg)
        now_ms = self._parts.clock.now_ms()
        check_times(header, now_ms=now_ms, skew_ms=rules.clock_skew_ms)
        references = await self._references(header, envelope)
        labels = rules.digest_labels
        strings = candidate_strings(header, message.body, references, labels, message.digest)
        record = await trusted_signer(
            self._parts.registry, self._parts.verifier, header, list(strings), now_ms=now_ms
        )
        if rules.networks and envelope is not None:
            _check_networks(record.networks, envelope, rules)
        return header.subscriber_id

    async def _references(self, header: SignatureHeader, envelope: Envelope | None) -> list[str]:
        """Return what a bound callback may refer to: our attempts to send its request."""
        if header.headers != FOUR_FIELDS or envelope is None or envelope.action.request is None:
            return []
        request = envelope.action.request.value
        message_id = envelope.message_id
        attempts = await self._parts.store.read(lambda uow: list(uow.attempts(message_id, request)))
        return [
            reference
            for attempt in attempts
            for reference in (parse_header(attempt).signature, attempt)
        ]

    # Stages 4 and 5

    async def _check_callback_url(self, message: "_Message", envelope: Envelope) -> None:
        """Judge the callback URL of a request against the registry (section 14)."""
        records = await self._parts.registry.records(envelope.bap.subscriber_id)
        check_callback_url(
            envelope.bap.uri,
            records,
            now_ms=self._parts.clock.now_ms(),
            allow_http=self._parts.allow_http,
        )

    # Stages 6 and 7

    def _check_content(self, envelope: Envelope, rules: PeerRules) -> None:
        """Refuse what the schema or a rule over this one message refuses, all findings at once.

        The order beside an error is the last known one: it has not reached the stage that its
        action names, so no rule is asked about it.
        """
        if envelope.error is not None and not envelope.message:
            return
        action, body = envelope.action.value, envelope.body
        check_findings(self._parts.schemas.check(action, body))
        if envelope.error is not None:
            return
        if envelope.action is Action.DISCOVER:
            wish_of(envelope.message)  # a filter that cannot be read leaves no row either
        if envelope.action not in WITHOUT_CONTRACT and envelope.view is None:
            msg = "the order carries no EnergyContractP2PTrade, this node trades nothing else"
            path = f"{CONTRACT_PATH}['@type']"
            raise WireError("SCH_TYPE_NOT_SUPPORTED", msg, path=path)
        read = Message(action, body, time_zone=rules.time_zone, view=envelope.view)
        check_findings(check_read(read, errors_only=True))
        if rules.policy is not None:
            check_findings(check_policy_of(rules.policy, read))

    async def _operator(self, message: "_Message") -> Peer | None:
        """Return where a request to this BPP would cascade to; None if that cannot be found."""
        operator_id = self._parts.grid_operator
        if operator_id is None or message.action.is_callback:
            return None
        if operator_id == self._parts.me.subscriber_id:
            return self._parts.me.as_bpp
        records = await self._parts.registry.records(operator_id)
        now_ms = self._parts.clock.now_ms()
        record = next((one for one in records if one.usable(now_ms)), None)
        return None if record is None else Peer(operator_id, record.url)

    # Stage 10

    def _refusal(self, message: "_Message", error: WireError) -> InboundReply:
        extra: list[tuple[bytes, bytes]] = []
        if error.http_status == 401:
            name = b"proxy-authenticate" if message.by_gateway else b"www-authenticate"
            realm = self._parts.me.subscriber_id
            value = f'Signature realm="{realm}",headers="(created) (expires) digest"'
            extra.append((name, value.encode()))
        if error.http_status in (429, 503):
            extra.append((b"retry-after", str(_RETRY_AFTER_S).encode()))
        _log.warning("refused", extra=message.log_fields() | {"code": error.code})
        return self._signed(message, nack(message.rules.ack_profile, message.ids, error), extra)

    def _signed(
        self, message: "_Message", answer: Acknowledgement, extra: list[tuple[bytes, bytes]]
    ) -> InboundReply:
        signature = message.signature or signature_value(message.authorizations)
        if signature is not None:
            header = self._parts.signer.header(
                answer.body,
                lifetime_ms=message.rules.signature_lifetime_ms,
                request_signature=signature,
            )
            extra.append((b"signature", header.encode()))
        return InboundReply(answer.status, extra, answer.body)


class _Message:
    """A message on its way through the pipeline, with what is known of it so far."""

    def __init__(self, action: Action, headers: Headers, body: bytes, parts: NodeParts) -> None:
        self.received_us = parts.clock.now_us()
        self.now_ms = self.received_us // 1_000
        """By which the whole message is judged."""
        self.rules = parts.rules_for("")
        """Those for its sender, once that was read."""
        self._rules_for = parts.rules_for
        self.action = action
        self.headers = headers
        self.body = body
        self.ids = MessageIds()
        self.sender: str | None = None
        self.digest = body_digest(body)
        self.authorizations = values_of(headers, b"authorization")
        self.signature: str | None = None
        """Of the one readable Authorization header, once it was read."""
        self.by_gateway = False
        """The gateway's signature is being judged."""

    @property
    def authorization(self) -> str:
        return self.authorizations[0]

    def note(self, body: Mapping[str, Any]) -> None:
        """Keep the ids for the answer and the log, if they are readable."""
        context = body.get("context")
        if not isinstance(context, dict):
            return
        self.ids = MessageIds(
            _readable(context.get("message_id")), _readable(context.get("transaction_id"))
        )
        self.sender = _readable(context.get("bpp_id" if self.action.is_callback else "bap_id"))
        self.rules = self._rules_for(self.sender or "")

    def log_fields(self) -> dict[str, Any]:
        return {
            "transaction_id": self.ids.transaction_id,
            "message_id": self.ids.message_id,
            "action": self.action.value,
            "sender": self.sender,
        }


def check_findings(findings: tuple[Finding, ...]) -> None:
    """Refuse when one of the findings is an error.

    Raises:
        WireError: the wire code of the first error, with all errors of the tier.
    """
    errors = findings and tuple(found for found in findings if found.severity is Severity.ERROR)
    if errors:
        first = errors[0]
        raise WireError(first.wire_code or first.code, first.message, findings=errors)


def _check_networks(memberships: tuple[str, ...], envelope: Envelope, rules: PeerRules) -> None:
    named = envelope.context.get("network_id", [])
    named = {named} if isinstance(named, str) else set(named)
    shared = set(rules.networks) & set(memberships)
    if not shared or not named <= shared:
        msg = f"the networks served here are {', '.join(rules.networks)}"
        raise WireError("AUT_DOMAIN_NOT_ALLOWED", msg, path="$.context.network_id")


def _readable(value: object) -> str | None:
    fits = isinstance(value, str) and 0 < len(value) <= 128 and value.isprintable()
    return value if fits and isinstance(value, str) else None

"""The key behind evidence of consent, looked up where the registry is.

The contract layer checks signature and terms itself, from the command alone; what it cannot know
is which key the network has for the signer. Decision 0011.
"""

from dataclasses import replace
from typing import Any

from adapter.domain.errors import WireError
from adapter.protocol.signature import SignatureHeader, candidate_strings, parse_header
from adapter.service.parts import NodeParts
from adapter.service.trust import trusted_signer
from adapter.settlement import Command
from adapter.settlement.contracts.evidence import resolved_key

_UNKNOWN = frozenset(
    {"AUT_SUBSCRIBER_NOT_FOUND", "AUT_KEY_NOT_FOUND", "AUT_KEY_EXPIRED_OR_REVOKED"}
)


async def with_signers_key(parts: NodeParts, command: Command, actor: str) -> Command:
    """Return the command with the signer's key in its evidence, if it has evidence.

    A repeated command gets the key that was found the first time, so that it stays the same
    command. No key is added when the registry has none: the contract layer says then why the
    evidence does not bind.

    Raises:
        WireError: NET_DOWNSTREAM_UNAVAILABLE, the registry cannot be asked now.
    """
    evidence = command.args.get("evidence")
    if (command.contract, command.function) != ("agreements", "accept_agreement") or not evidence:
        return command
    key = await parts.store.read(lambda uow: resolved_key(uow.ledger, actor, command.id))
    if key is None:
        key = await _key(parts, evidence)
    if key is None:
        return command
    return replace(command, args={**command.args, "evidence": {**evidence, "public_key": key}})


async def _key(parts: NodeParts, evidence: dict[str, Any]) -> str | None:
    """Return the signer's key in base64, None when there is no usable one."""
    try:
        header = parse_header(evidence["authorization"])
        return await _signers_key(parts, header, evidence["body"].encode())
    except WireError as error:
        if error.code.startswith("AUT_"):
            return None
        raise


async def _signers_key(parts: NodeParts, header: SignatureHeader, body: bytes) -> str:
    messages = list(candidate_strings(header, body))
    now_ms = parts.clock.now_ms()
    try:
        record = await trusted_signer(
            parts.registry, parts.verifier, header, messages, now_ms=now_ms
        )
    except WireError as error:
        if error.code in _UNKNOWN or not error.code.startswith("AUT_"):
            raise
        record = await parts.registry.key(header.subscriber_id, header.key_id)
    return record.signing_public_key

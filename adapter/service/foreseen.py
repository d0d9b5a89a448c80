"""What the unit of work of a message is known to read before it begins.

A store behind a network reads it for many messages at once. One key too many costs a look into an
index; one that is missing costs a round trip, and is otherwise no harm.
"""

from collections.abc import Sequence

from adapter.domain.parties import NodeRole, Side
from adapter.protocol.actions import Action
from adapter.protocol.envelope import Envelope
from adapter.protocol.orders import OFFERS, first_id
from adapter.service.facts import BINDING, SELLING
from adapter.service.histories import history_key
from adapter.service.parts import NodeParts
from adapter.service.placing import ROLES_OF, SIDE_OF, variant_of
from adapter.service.records import About

_LEG_SIDES = ((NodeRole.BPP, Side.BPP), (NodeRole.MARKET, Side.MARKET_SESSION))
"""Who sends requests to a grid operator."""


def foreseen(parts: NodeParts, envelope: Envelope) -> About:
    """Return what a message that passed all checks will read."""
    sides = _sides(parts, envelope.action)
    request = envelope.action.request
    transaction_id = envelope.transaction_id
    contract_id = str(envelope.contract.get("contractId", ""))
    offer_id = first_id(envelope.order, OFFERS) if SELLING & {*sides} else ""
    sender, platform = envelope.sender.subscriber_id, envelope.bap.subscriber_id
    is_bound = Side.BPP in sides and envelope.action in BINDING
    is_hosted = request is None and Side.GRID_OPERATOR in sides
    return About(
        message=(sender, envelope.message_id, envelope.action.value, variant_of(envelope)),
        transactions=(transaction_id,),
        legs=() if request is None or not parts.cascades else (transaction_id,),
        asked=() if request is None else ((envelope.message_id, request.value),),
        histories=[history_key(side, transaction_id, contract_id) for side in sides if contract_id],
        offers=(offer_id,) if offer_id else (),
        contracts=(contract_id,) if is_bound and contract_id else (),
        traded=((Side.GRID_OPERATOR.value, platform, contract_id),)
        if is_hosted and contract_id
        else (),
    )


def _sides(parts: NodeParts, action: Action) -> Sequence[Side]:
    """Return the sides of ours that a message may be for."""
    if not action.is_callback:
        taking = parts.roles & ROLES_OF[action]
        return [side for role, side in SIDE_OF.items() if role in taking]
    ours = [Side.BAP] if NodeRole.BAP in parts.roles else []
    if parts.cascades:
        ours += [side for role, side in _LEG_SIDES if role in parts.roles]
    return ours

"""What the paths of `/contracts` share: the layer that this node hosts, bodies, refusals."""

from collections.abc import Mapping
from typing import Any

from fastapi import Request

from adapter.bootstrap import Node
from adapter.domain.errors import AdapterError, ContractError, WireError
from adapter.protocol import strict_json
from adapter.protocol.acks import error_object
from adapter.service.contracts import ContractCalls
from adapter.web.errors import not_offered

MAX_BODY = 256 * 1_024


def hosted_by(node: Node) -> ContractCalls:
    """Return the contract layer of a node.

    Raises:
        WireError: the node does not host it; the answer names who does.
    """
    if node.contracts is None:
        msg = "this node does not host the contract layer"
        host = node.settings.contracts.host
        raise not_offered(f"{msg}, {host} does" if host else msg)
    return node.contracts


def body_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object of a body.

    Raises:
        ContractError: INVALID_INPUT.
    """
    try:
        return strict_json.decode_object(raw)
    except WireError as error:
        raise invalid_request(error.message, error) from None


def single_values(request: Request) -> Mapping[str, str]:
    """Return the parameters of the query.

    Raises:
        ContractError: INVALID_INPUT, one is given twice.
    """
    pairs = request.query_params.multi_items()
    args = dict(pairs)
    if len(args) != len(pairs):
        raise invalid_request("an argument is given twice")
    return args


def invalid_request(message: str, why: AdapterError | None = None) -> ContractError:
    """Return the refusal of a request that is not what the path takes."""
    cause = None if why is None else error_object(why)
    return ContractError("INVALID_INPUT", message, cause=cause)

"""Actions of the network, their callbacks, and which path takes them."""

from enum import StrEnum
from types import MappingProxyType


class Action(StrEnum):
    """Every action that this adapter handles."""

    is_callback: bool
    """Whether a BPP sends it to a BAP; kept, for it is asked some twenty times per message."""

    DISCOVER = "discover"
    SELECT = "select"
    INIT = "init"
    CONFIRM = "confirm"
    STATUS = "status"
    CANCEL = "cancel"
    ON_DISCOVER = "on_discover"
    ON_SELECT = "on_select"
    ON_INIT = "on_init"
    ON_CONFIRM = "on_confirm"
    ON_STATUS = "on_status"
    ON_UPDATE = "on_update"
    ON_CANCEL = "on_cancel"

    def __init__(self, name: str) -> None:
        """Note what follows from the name."""
        self.is_callback = name.startswith("on_")

    @property
    def callback(self) -> "Action":
        """Return the callback that answers this request."""
        return Action(f"on_{self.value}")

    @property
    def request(self) -> "Action | None":
        """Return the request that this callback answers; on_update answers none of ours."""
        return REQUEST_OF.get(self)


REQUESTS = (
    Action.DISCOVER,
    Action.SELECT,
    Action.INIT,
    Action.CONFIRM,
    Action.STATUS,
    Action.CANCEL,
)
REQUEST_OF = MappingProxyType({action.callback: action for action in REQUESTS})

WITHOUT_CONTRACT = frozenset({Action.DISCOVER, Action.ON_DISCOVER, Action.STATUS, Action.CANCEL})
"""Messages without an order that carries the contract: discovery has none, and what an order holds
besides the trade it names to be told about or cancelled is judged by no schema."""

UNSUPPORTED = frozenset(
    {"update", "track", "rate", "support", "catalog/publish", "catalog/subscription"}
)
"""Actions of the network that are answered with 501. Source: protocol specification, section 2."""

STREAM_CALLBACKS = frozenset({Action.ON_DISCOVER, Action.ON_STATUS, Action.ON_UPDATE})
"""Callbacks of which several, different ones may answer one request. Section 9."""

UNSOLICITED_CALLBACKS = frozenset({Action.ON_STATUS, Action.ON_UPDATE, Action.ON_CANCEL})
"""Callbacks that may come without a request. Section 11."""

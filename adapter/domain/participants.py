"""Participants of the network as a registry lists them."""

from dataclasses import dataclass

USABLE_STATUS = ("", "SUBSCRIBED")


@dataclass(frozen=True, slots=True)
class Participant:
    """One key of one subscriber. Source: protocol specification, section 6."""

    subscriber_id: str
    key_id: str
    type: str
    """BAP, BPP or BG."""
    url: str
    """Where its messages go, without the action."""
    domain: str
    signing_public_key: str
    """Base64 of 32 bytes."""
    valid_from_ms: int | None = None
    valid_until_ms: int | None = None
    status: str = "SUBSCRIBED"
    revoked: bool = False
    networks: tuple[str, ...] = ()
    ttl_s: int = 0
    """How long the record may be kept, 0 when the registry does not say."""

    def usable(self, now_ms: int) -> bool:
        """Return whether the key may be trusted at `now_ms`."""
        return (
            self.status in USABLE_STATUS
            and not self.revoked
            and (self.valid_from_ms is None or self.valid_from_ms <= now_ms)
            and (self.valid_until_ms is None or now_ms <= self.valid_until_ms)
        )

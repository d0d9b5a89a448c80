"""Fresh ids."""

import uuid


class RandomIds:
    """Implements `ports.Ids` with random UUIDs."""

    def new(self) -> str:
        """Return a UUID in text form."""
        return str(uuid.uuid4())

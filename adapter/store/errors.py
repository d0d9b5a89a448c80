"""Faults of a database that no peer can cause, told to whoever runs the node."""

from adapter.domain.errors import AdapterError

NEEDS_EXTRA = "PostgreSQL needs the extra `postgres`: pip install 'p2ptrade[postgres]'"


class StoreError(AdapterError):
    """A database that cannot be used as asked: wrong file, in use, newer than the code, misuse."""

    def __init__(self, message: str) -> None:
        """Make the fault NET_INTERNAL_ERROR."""
        super().__init__("NET_INTERNAL_ERROR", message)

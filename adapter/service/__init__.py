"""Use cases. Knows ports, not technologies."""

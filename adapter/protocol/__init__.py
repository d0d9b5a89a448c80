"""Beckn as a library: bytes in, decisions out. No I/O."""

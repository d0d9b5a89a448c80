"""The world outside: clock, keys, registries, HTTP towards peers. Implements ports."""

"""Tests of p2ptrade. The folders below mirror the package and need no __init__.py."""

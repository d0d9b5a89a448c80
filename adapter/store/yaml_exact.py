"""YAML with exact numbers: what has a point becomes a Decimal, never a float."""

from decimal import Decimal
from typing import Any

import yaml


class _Loader(yaml.CSafeLoader):
    """Safe loader whose numbers with a point are Decimals."""


def load_yaml(raw: bytes) -> Any:
    """Return the value of a YAML document that is ours."""
    return yaml.load(raw, Loader=_Loader)


def _decimal(loader: yaml.CSafeLoader, node: yaml.ScalarNode) -> Decimal:
    return Decimal(str(loader.construct_scalar(node)))


_Loader.add_constructor("tag:yaml.org,2002:float", _decimal)

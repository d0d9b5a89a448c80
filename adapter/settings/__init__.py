"""Settings of one node: node.yaml, overridden by P2PTRADE_<SECTION>__<KEY>.

Read once at the start and frozen; no other module reads the environment. A wrong, unknown or
missing key is one line that names the key, the value and what is allowed. Relative paths are
relative to the file, durations become whole milliseconds.
Source: interfaces, section 4.
"""

from adapter.settings.load import SettingsError, load_settings
from adapter.settings.model import (
    AccessSettings,
    CascadeSettings,
    ClearingSettings,
    ContractsSettings,
    NodeSettings,
    ProtocolRules,
    ProtocolSettings,
    RegistrySettings,
    Settings,
)
from adapter.settings.values import DatabaseUrl, HostPort

__all__ = [
    "AccessSettings",
    "CascadeSettings",
    "ClearingSettings",
    "ContractsSettings",
    "DatabaseUrl",
    "HostPort",
    "NodeSettings",
    "ProtocolRules",
    "ProtocolSettings",
    "RegistrySettings",
    "Settings",
    "SettingsError",
    "load_settings",
]

"""MLflow: model versions, verified loading; decisions; promotion."""

from include.registry.versions import (
    RegisteredVersion,
    Registry,
    add_files,
    load_version,
    open_registry,
    read_version,
    register_version,
    set_alias,
    version_folder,
    version_of_alias,
)

__all__ = [
    "RegisteredVersion",
    "Registry",
    "add_files",
    "load_version",
    "open_registry",
    "read_version",
    "register_version",
    "set_alias",
    "version_folder",
    "version_of_alias",
]

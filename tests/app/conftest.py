"""The endpoint that the page asks: a real one."""

from tests.serving.conftest import linear, parcels, registry_settings, versions

__all__ = ["linear", "parcels", "registry_settings", "versions"]

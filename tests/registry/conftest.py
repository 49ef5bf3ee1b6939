"""Fixtures of the registry's tests."""

from tests.registry.fixtures import house, template

__all__ = ["house", "template"]

"""Packages that are not installed everywhere: what a setting asks for must be there."""

from importlib import import_module
from typing import Any

from django.core.exceptions import ImproperlyConfigured


def wanted_by(setting: str, module: str, requirements: str) -> Any:
    """The module. Raises ImproperlyConfigured, which says what to install."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImproperlyConfigured(
            f"{setting} is set, and {error.name or module} is not installed: pip install -r {requirements}"
        ) from None

"""Names of a package that are loaded when first used, for what not everybody needs costs time and space."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def loads(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A ``__getattr__`` for the package (PEP 562).

    :param homes: name -> module that it is imported from, relative to the package.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    return load

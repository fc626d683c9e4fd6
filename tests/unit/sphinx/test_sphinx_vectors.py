"""Packets of the published client, and packets built with fixed randomness."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vectors_runner import sphinx_vectors

FOLDER = Path(__file__).parents[2] / "vectors" / "sphinx"


@pytest.mark.parametrize("check", sphinx_vectors.CHECKS, ids=lambda check: check.__name__)
def test_vector(check: Callable[[Path], None]) -> None:
    check(FOLDER)

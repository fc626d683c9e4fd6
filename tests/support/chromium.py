"""How tests and benchmarks come by the settings of ``playwright.config.py``, whose name no import can say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType


def load_settings() -> ModuleType:
    """``playwright.config.py`` of the checkout: ``launch_options``, ``chromium_path``, limits."""
    path = Path(__file__).parents[2] / "playwright.config.py"
    spec = importlib.util.spec_from_file_location("playwright_config", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

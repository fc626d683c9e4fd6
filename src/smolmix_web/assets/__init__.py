"""Assembles the folder that a page is served from: shim, worker, Pyodide, wheels, crypto bundle."""

from smolmix_web.assets.build import AssetError, Sources, build_assets, ensure_assets

__all__ = ["AssetError", "Sources", "build_assets", "ensure_assets"]

"""Assembles the folder that a page is served from: shim, worker, Pyodide, wheels, crypto bundle."""

from smolmix_web.assets.build import AssetError, Sources, build_assets, ensure_assets
from smolmix_web.assets.download import first_download
from smolmix_web.assets.installed import demo_folder

__all__ = ["AssetError", "Sources", "build_assets", "demo_folder", "ensure_assets", "first_download"]

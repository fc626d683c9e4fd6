"""Assemble the files a page needs (shim, worker, Python, wheels, cryptography) into a folder that any static
server can host."""

from __future__ import annotations

import argparse
import base64
import hashlib
import sys
from pathlib import Path

from smolmix_web.assets import build_assets
from smolmix_web.cli.progress import ProgressLine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to make or replace")
    parser.add_argument(
        "--no-compress",
        dest="compress",
        action="store_false",
        help="leave out the .br and .gz files beside the others (making them takes a minute the first time)",
    )
    add_distribution_argument(parser)


def add_distribution_argument(parser: argparse.ArgumentParser) -> None:
    """The option that the commands which build assets share."""
    parser.add_argument(
        "--pyodide-dist",
        metavar="FOLDER_OR_URL",
        default=None,
        help="full Pyodide distribution, for its build of cryptography; 'none' leaves it out "
        "(default: $SMOLMIX_PYODIDE_DIST, else the public one if it can be reached)",
    )


async def run(chosen: argparse.Namespace) -> int:
    line = ProgressLine(enabled=sys.stderr.isatty())
    try:
        manifest = build_assets(
            chosen.out.absolute(),
            distribution=chosen.pyodide_dist,
            compress=chosen.compress,
            log=_say,
            progress=lambda share, name: line.show(share, f"compressing: {name}"),
        )
    finally:
        line.clear()
    size = sum(entry["size"] for entry in manifest["files"].values())
    print(f"{len(manifest['files'])} files, {size / 1e6:.1f} MB")
    print(f"integrity of manifest.json: {_integrity(chosen.out)}")
    return 0


def _integrity(folder: Path) -> str:
    """For the option ``assetsIntegrity`` of a page that does not trust the server of the assets."""
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _say(line: str) -> None:
    print(line, file=sys.stderr)

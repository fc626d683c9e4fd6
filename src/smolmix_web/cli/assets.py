"""Assemble the files a page needs (shim, worker, Python, wheels, cryptography) into a folder that any static
server can host."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from smolmix_web.assets import build_assets


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to make or replace")
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
    manifest = build_assets(chosen.out.absolute(), distribution=chosen.pyodide_dist, log=_say)
    size = sum(entry["size"] for entry in manifest["files"].values())
    print(f"{len(manifest['files'])} files, {size / 1e6:.1f} MB")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr)

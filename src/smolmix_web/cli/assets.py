"""Assemble the files a page needs (shim, worker, Python, wheels, cryptography) into a folder that any static
server can host."""

from __future__ import annotations

import argparse
import base64
import hashlib
import sys
from pathlib import Path

from smolmix_web.assets import build_assets, first_download
from smolmix_web.cli.progress import ProgressLine
from smolmix_web.errors import OptionError
from smolmix_web.features import FEATURES, Feature, parse_features


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to make or replace")
    parser.add_argument(
        "--no-compress",
        dest="compress",
        action="store_false",
        help="leave out the .br and .gz files beside the others (making them takes a minute the first time)",
    )
    parser.add_argument(
        "--features",
        metavar="LIST",
        type=_features,
        default=FEATURES,
        help=f"what pages can do, of {','.join(FEATURES)} (default: all); raw messages always work. "
        "A part is built from a checkout, not from an installed package",
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
            features=chosen.features,
            compress=chosen.compress,
            log=_say,
            progress=lambda share, name: line.show(share, f"compressing: {name}"),
        )
    finally:
        line.clear()
    size = sum(entry["size"] for entry in manifest["files"].values())
    print(f"{len(manifest['files'])} files, {size / 1e6:.1f} MB; features: {', '.join(manifest['features'])}")
    how = "compressed" if chosen.compress else "not compressed"
    for provider, download in first_download(chosen.out, manifest).items():
        print(f"download of a page's first start, provider {provider}: {download / 1e6:.2f} MB {how}")
    print(f"integrity of manifest.json: {_integrity(chosen.out)}")
    return 0


def _features(text: str) -> tuple[Feature, ...]:
    try:
        return parse_features(text.split(","))
    except OptionError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("features: ")) from None


def _integrity(folder: Path) -> str:
    """For the option ``assetsIntegrity`` of a page that does not trust the server of the assets."""
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _say(line: str) -> None:
    print(line, file=sys.stderr)

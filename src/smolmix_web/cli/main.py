"""The ``smolmix-web`` command: parses the command line and hands over to one module per subcommand.

Exit codes: 0 done, 1 the work failed (standard error says why), 2 wrong usage, 130 interrupted.
``fetch --fail`` adds 22 for an HTTP status of 400 or more, as curl does.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import sys
from collections.abc import Sequence

from smolmix_web import __version__
from smolmix_web.errors import OptionError, SmolmixError

COMMANDS = {
    "fetch": "fetch a URL through the mixnet",
    "socks": "serve SOCKS5 in front of a tunnel, for programs that know proxies",
    "client": "serve the WebSocket interface of Nym's native client: raw mixnet messages",
    "network": "run a local Nym network for development and tests",
    "demo": "run the local network and the playground page",
    "assets": "assemble the files a page needs into a folder for a static server",
}

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="smolmix-web",
        description="HTTP, WebSocket and DNS through the Nym mixnet.",
        epilog="Exit codes: 0 done, 1 the work failed, 2 wrong usage, 130 interrupted. "
        "'smolmix-web COMMAND --help' explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"smolmix-web {__version__}")
    parser.add_argument("--log", metavar="LEVEL", default="warning", help="debug, info, warning or error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_text in COMMANDS.items():
        module = importlib.import_module(f"smolmix_web.cli.{name}")
        command = commands.add_parser(name, help=help_text, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = build_parser()
    chosen = parser.parse_args(arguments)
    level = logging.getLevelName(str(chosen.log).upper())
    if not isinstance(level, int):
        parser.error(f"--log: {chosen.log!r} is not debug, info, warning or error")
    logging.basicConfig(level=level, format="%(name)s: %(message)s", stream=sys.stderr)
    try:
        code: int = asyncio.run(chosen.run(chosen))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OptionError as error:
        print(f"smolmix-web {chosen.command}: {error}", file=sys.stderr)
        return EXIT_USAGE
    except (SmolmixError, OSError) as error:
        print(f"smolmix-web {chosen.command}: {error}", file=sys.stderr)
        return EXIT_FAILED
    return code

"""``python -m bench``: every benchmark, one after the other, as Markdown tables.

``python -m bench sphinx network`` runs those two only. Each also runs alone: ``python bench/bench_NAME.py``.
"""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
ORDER = (
    "sphinx",
    "localnet",
    "network",
    "packets",
    "net",
    "net_browser",
    "download",
    "tls",
    "tls_browser",
    "browser",
    "start",
)


def main(wanted: list[str]) -> int:
    known = [name for name in ORDER if (FOLDER / f"bench_{name}.py").exists()]
    if unknown := set(wanted) - set(known):
        print(
            f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(known)}", file=sys.stderr
        )
        return 2
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    print(f"{today}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.machine()}")
    failed = False
    for name in known:
        if wanted and name not in wanted:
            continue
        print(f"\n## {name}\n", flush=True)
        result = subprocess.run([sys.executable, FOLDER / f"bench_{name}.py"], check=False)
        failed = failed or result.returncode != 0
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

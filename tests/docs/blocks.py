"""The fenced blocks of README.md, docs/ and the README of examples/, as the tests run them.

The words behind the fence say how (GitHub shows only the first one's colours):

====================  =====================================================================================
fence                 the test
====================  =====================================================================================
``python``            runs as a program of its own and must end with 0
``python tunnel``     runs as a part of one: ``tunnel`` is ready, and ``await`` is allowed
``html``              is opened in Chromium, and its script must end without an error
``js``                runs as a module in a page that stands on one origin with the assets
``sh``                runs in bash, block after block of a document, and must end with 0
``sh running``        is started, must say "Ctrl-C ends it.", and is stopped at the end of the document
``sh checked``        is not run (it installs, or takes minutes): what it names must exist
``json``, ``text``    ``json`` must parse; ``text`` is a picture or an output
====================  =====================================================================================

Everything meets the local network: a stand-in gives programs and pages its address, and no cover traffic;
``example.com`` is a host of the test internet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "examples" / "README.md")

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """One fenced block; ``line`` is that of its fence."""

    document: Path
    line: int
    language: str
    words: tuple[str, ...]
    text: str

    @property
    def name(self) -> str:
        """For test ids and file names."""
        folder = "examples-" if self.document.parent.name == "examples" else ""
        return f"{folder}{self.document.stem}-{self.line}"


def blocks_of(document: Path) -> list[Block]:
    content = document.read_text()
    found = []
    for match in _FENCE.finditer(content):
        language, *words = match["info"].split() or [""]
        line = content.count("\n", 0, match.start()) + 1
        found.append(Block(document, line, language, tuple(words), match["text"]))
    return found


BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]


def select(language: str, *words: str) -> list[Block]:
    """All blocks of a language with exactly these words."""
    return [block for block in BLOCKS if block.language == language and block.words == words]

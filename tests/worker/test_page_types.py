"""The page's types fit what people write: the examples of README.md and docs/ compile against them.

(That the playground does is checked by tsconfig.json, which `npm run check` compiles.)
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
TYPES = ROOT / "worker" / "smolmix.d.ts"
PAGE = ROOT / "worker" / "smolmix.js"
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_FENCE = re.compile(r"^ *```(js|ts|html)\b[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_MODULE = re.compile(r"<script type=\"module\">(.*?)</script>", re.DOTALL)
_EXPORT = re.compile(
    r"^export (?:declare )?(?:async )?(?:class|function|const|interface|type) (\w+)", re.MULTILINE
)


def examples() -> list[tuple[str, str]]:
    """File name and source of every example; those in HTML are its module scripts."""
    found = []
    for document in DOCUMENTS:
        text = document.read_text()
        for fence in _FENCE.finditer(text):
            line = text.count("\n", 0, fence.start()) + 1
            scripts = _MODULE.findall(fence[2]) if fence[1] == "html" else [fence[2]]
            kind = "ts" if fence[1] == "ts" else "js"
            found += [(f"{document.stem}-{line}.{kind}", script) for script in scripts]
    return found


def exports(path: Path) -> list[str]:
    text = path.read_text()
    listed = [
        name.strip()
        for names in re.findall(r"^export \{(.*?)\}", text, re.M | re.S)
        for name in names.split(",")
    ]
    return [*_EXPORT.findall(text), *filter(None, listed)]


def compile_modules(folder: Path, modules: dict[str, str]) -> str:
    """What the compiler says about the modules; nothing if they are right.

    A name that an example does not import is that of smolmix-web: its document imported it further up.
    """
    (folder / "smolmix").mkdir(exist_ok=True)
    (folder / "smolmix" / "smolmix.js").write_text("export {};")
    shared = "\n".join(f"const {name}: typeof import('smolmix-web').{name};" for name in exports(PAGE))
    (folder / "shared.d.ts").write_text(f"export {{}};\ndeclare global {{\n{shared}\n}}\n")
    for name, source in modules.items():
        (folder / name).write_text(f"{source}\nexport {{}};\n")
    options = json.loads(re.sub(r"^\s*//.*$", "", (ROOT / "tsconfig.json").read_text(), flags=re.M))[
        "compilerOptions"
    ]
    options |= {"noUnusedLocals": False, "noUnusedParameters": False, "module": "ESNext"}
    # Nobody proves in an example that a body is not null, or what was caught.
    options |= {"strictNullChecks": False, "useUnknownInCatchVariables": False}
    options |= {"moduleResolution": "bundler", "moduleDetection": "force"}
    options["paths"] = {"smolmix-web": [str(TYPES)], "*/smolmix/smolmix.js": [str(TYPES)]}
    options["paths"]["./smolmix/smolmix.js"] = [str(TYPES)]
    (folder / "smolmix" / "smolmix.d.ts").write_text("export * from 'smolmix-web';\n")
    files = ["shared.d.ts", *modules]
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": files}))
    compiler = ROOT / "node_modules" / ".bin" / "tsc"
    done = subprocess.run(
        [compiler, "-p", folder / "tsconfig.json"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode in (0, 1, 2), done.stderr
    return done.stdout


def test_every_example_compiles(tmp_path: Path) -> None:
    modules = dict(examples())
    assert any(name.startswith("README-") for name in modules)
    assert compile_modules(tmp_path, modules) == ""


MISTAKES = (
    "await mixFetch(5);",
    "await mixFetch('https://example.com/', { maxRedirects: 'many' });",
    "await setupMixTunnel({ nonsense: true });",
    "/** @type {string} */ export const address = await mixResolve('example.com', { all: true });",
    "new MixWebSocket('wss://example.com/').bufferedAmount;",
    "new MixTunnel().fetch('https://example.com/');",
    "tunnelEvents.addEventListener('stats', ({ detail }) => detail.rates.nonsense);",
    "import { mixTelnet } from 'smolmix-web';",
)


def test_mistakes_do_not_compile(tmp_path: Path) -> None:
    """Or the test above could not fail."""
    said = compile_modules(tmp_path, {f"mistake-{n}.js": text for n, text in enumerate(MISTAKES)})
    assert [text for n, text in enumerate(MISTAKES) if f"mistake-{n}.js(" not in said] == []


def test_types_and_module_export_the_same() -> None:
    declared = {
        name
        for name in exports(TYPES)
        if re.search(rf"^export declare \w+ {name}\b", TYPES.read_text(), re.M)
    }
    assert declared == set(exports(PAGE))


def test_everything_that_is_exported_is_documented() -> None:
    for path in (TYPES, *sorted((ROOT / "worker").glob("*.js"))):
        lines = path.read_text().splitlines()
        for above, line in zip(["", *lines], lines, strict=False):
            match = _EXPORT.match(line)
            if path != TYPES and "const " in line:
                continue
            if match and not re.search(rf"^export declare function {match[1]}\b", above):
                assert above.strip().endswith("*/"), f"{path.name}: {match[1]} has no description"


def test_every_option_and_member_is_documented() -> None:
    """Of the interfaces that people fill in or read. What the platform has under the same name is known."""
    for name, body in re.findall(r"^export interface (\w+)[^{]*\{\n(.*?)^\}", TYPES.read_text(), re.M | re.S):
        above = ""
        for line in body.splitlines():
            member = re.match(r"  (?:readonly )?(\w+)\??:", line)
            known = name.endswith("EventMap") or (member and member[1] in _OF_THE_PLATFORM)
            if member and not known:
                assert above.strip().endswith("*/"), f"{name}.{member[1]} has no description"
            above = line


_OF_THE_PLATFORM = {
    "method",
    "redirect",
    "signal",
    "address",
    "family",
    "platform",
    "state",
    "level",
    "headers",
}

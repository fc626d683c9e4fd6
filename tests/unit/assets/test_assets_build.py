"""The folder of assets holds what its manifest says, and nothing with a wrong hash gets into it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from smolmix_web.assets import AssetError, Sources, build_assets, first_download
from smolmix_web.assets.archives import PythonParts
from smolmix_web.assets.build import _built_digest, _digest
from smolmix_web.assets.installed import copy_prebuilt
from smolmix_web.assets.licences import third_party_licences
from smolmix_web.assets.wheels import pack_own_wheel, parse_pins, wanted_wheels
from smolmix_web.cli.main import build_parser
from smolmix_web.errors import OptionError

CHECKOUT = Path(__file__).parents[3]
PART_NAMES = ("library.zip", "packages.zip", "image.bin", "cryptography.zip")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def lock(packages: dict[str, tuple[bytes, list[str]]], abi: str = "2026_0") -> dict[str, Any]:
    return {
        "info": {"abi_version": abi, "arch": "wasm32", "platform": "emscripten_5_0_3"},
        "packages": {
            name: {"file_name": f"{name}-1.whl", "sha256": digest(data), "depends": depends}
            for name, (data, depends) in packages.items()
        },
    }


PINNED = {
    "cryptography": (b"pinned cryptography", ["cffi"]),
    "cffi": (b"pinned cffi", ["pycparser"]),
    "pycparser": (b"pinned pycparser", []),
    "unrelated": (b"unrelated", []),
}


@pytest.fixture
def checkout(tmp_path: Path) -> Sources:
    """A checkout in small: our package as it is, everything else a few bytes."""
    root = tmp_path / "checkout"
    (root / "worker" / "crypto").mkdir(parents=True)
    (root / "worker" / "worker.js").write_text("// worker")
    (root / "worker" / "tsconfig.json").write_text("{}")
    (root / "worker" / "smolmix.d.ts").write_text("export {}")
    (root / "worker" / "protocol.js").write_text("export const PROTOCOL_VERSION = 7;\n")
    (root / "worker" / "features.js").write_text("export const FEATURES = ['dns', 'fetch', 'socket'];\n")
    (root / "worker" / "crypto" / "npm-crypto.js").write_text("export const a = 1;")
    (root / "worker" / "brotli").mkdir()
    (root / "worker" / "brotli" / "npm-brotli.js").write_text("export const b = 1;")
    (root / "package-lock.json").write_text("{}")
    (root / "worker" / "build").mkdir()
    (root / "src").mkdir()
    (root / "src" / "smolmix_web").symlink_to(CHECKOUT / "src" / "smolmix_web")
    pyodide = root / "node_modules" / "pyodide"
    pyodide.mkdir(parents=True)
    for name in ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip"):
        (pyodide / name).write_text(name)
    (pyodide / "pyodide-lock.json").write_text(json.dumps(lock(PINNED)))
    (pyodide / "package.json").write_text('{"version": "314.0.7"}')
    # Downloads and the bundler have been here before.
    (root / "build" / "wheels").mkdir(parents=True)
    for name in ("npm-crypto.js", "npm-brotli.js"):
        (root / "build" / name).write_text("export const a=1;")
        os.utime(root / "build" / name, (2**31, 2**31))
    return Sources(root)


@pytest.fixture
def no_downloads(monkeypatch: pytest.MonkeyPatch, checkout: Sources) -> None:
    """Neither pip nor Node: the archives are what they would be made of."""
    monkeypatch.setattr("smolmix_web.assets.build.download_pure_wheels", lambda sources, cache: [])

    def build_parts(sources: Sources, wheels: list[Path], cryptography: list[Path]) -> PythonParts:
        folder = sources.root / "build" / "python"
        folder.mkdir(exist_ok=True)
        parts = (
            PythonParts(*(folder / name for name in PART_NAMES))
            if cryptography
            else PythonParts(*(folder / name for name in PART_NAMES[:3]), None)
        )
        for path in parts.files():
            used = cryptography if path.name == "cryptography.zip" else wheels
            path.write_text(" ".join(sorted(wheel.name for wheel in used)))
        return parts

    monkeypatch.setattr("smolmix_web.assets.build.build_python_parts", build_parts)
    monkeypatch.setattr("smolmix_web.assets.build.third_party_licences", lambda sources, wheels: "licences")


def distribution(folder: Path, files: dict[str, bytes], own_lock: dict[str, Any] | None = None) -> str:
    folder.mkdir()
    for name, data in files.items():
        (folder / f"{name}-1.whl").write_bytes(data)
    if own_lock:
        (folder / "pyodide-lock.json").write_text(json.dumps(own_lock))
    return str(folder)


def test_pins_are_read_with_their_hashes():
    pins = parse_pins(Sources(CHECKOUT).requirements.read_text())
    assert {name.rpartition("-")[0] for name, _ in pins} >= {"h11", "wsproto", "dnspython"}


def test_own_wheel_is_reproducible_and_importable(tmp_path):
    sources = Sources(CHECKOUT)
    (tmp_path / "again").mkdir()
    wheel = pack_own_wheel(sources, tmp_path)
    assert pack_own_wheel(sources, tmp_path / "again").read_bytes() == wheel.read_bytes()
    # It carries what a page runs: everything imports from the wheel itself.
    code = (
        "import smolmix_web, smolmix_web.bridge.handlers, smolmix_web.options, pathlib;"
        "print(pathlib.Path(smolmix_web.__file__).parents[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(wheel)}, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(wheel), done.stderr


_WITHOUT = """
import asyncio
from smolmix_web import TunnelOptions, features
from smolmix_web.errors import FeatureMissing
from smolmix_web.tunnel import Tunnel
import smolmix_web.bridge.handlers

async def codes():
    tunnel = Tunnel.__new__(Tunnel)  # not even set up
    calls = [tunnel.fetch("https://a.test/"), tunnel.open_websocket("wss://a.test/")]
    calls.append(tunnel.open_connection("a.test", 443, tls=True))
    return [type(error).__name__ for error in await asyncio.gather(*calls, return_exceptions=True)]

print([features.has(part) for part in ("fetch", "socket", "web")], *asyncio.run(codes()))
"""


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (["dns"], "[False, False, False] FeatureMissing FeatureMissing FeatureMissing"),
        (["dns", "fetch"], "[True, False, True] AttributeError FeatureMissing AttributeError"),
    ],
)
def test_python_names_the_feature_that_is_missing(tmp_path, wanted, said):
    """AttributeError stands for: it would have gone on, with a tunnel that was set up."""
    wheel = pack_own_wheel(Sources(CHECKOUT), tmp_path, wanted)
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT], env={"PYTHONPATH": str(wheel)}, capture_output=True, text=True
    )
    assert done.stdout.strip() == said, done.stderr


def test_own_wheel_brings_the_roots_where_there_is_tls(tmp_path):
    sources = Sources(CHECKOUT)
    for features, there in ((["dns"], False), (["socket"], True)):
        wheel = pack_own_wheel(sources, tmp_path, features, roots=b"PEM")
        with zipfile.ZipFile(wheel) as archive:
            assert ("smolmix_web/tls/roots.pem" in archive.namelist()) == there
    # As from a wheel, so from any archive: nothing is unpacked in a page.
    code = "from smolmix_web.tls.roots import bundled_pem; print(bundled_pem())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(wheel)}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "b'PEM'", done.stderr


def test_own_wheel_leaves_out_what_no_page_runs(tmp_path):
    names = zipfile.ZipFile(pack_own_wheel(Sources(CHECKOUT), tmp_path)).namelist()
    assert not [name for name in names if "/localnet/" in name or "/cli/" in name or "native" in name]
    assert not [name for name in names if "__pycache__" in name]
    assert any(name.endswith("/RECORD") for name in names)


@pytest.mark.usefixtures("no_downloads")
def test_manifest_lists_every_file_with_its_hash(checkout, tmp_path):
    out = tmp_path / "out"
    manifest = build_assets(out, distribution="none", sources=checkout)
    assert json.loads((out / "manifest.json").read_text()) == manifest
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert files - {"manifest.json"} == {entry["path"] for entry in manifest["files"].values()}
    for entry in manifest["files"].values():
        data = (out / entry["path"]).read_bytes()
        assert (entry["sha256"], entry["size"]) == (digest(data), len(data))
    assert {"worker.js", "smolmix.d.ts"} <= files
    assert {"pyodide.asm.wasm", "library.zip", "packages.zip", "image.bin"} <= set(manifest["files"])
    assert "tsconfig.json" not in files
    assert manifest["protocol"] == 7
    assert manifest["providers"] == {"npm": {"module": "npm-crypto.js"}}
    assert not list(tmp_path.glob(".out-*"))


@pytest.mark.usefixtures("no_downloads")
def test_cryptography_of_the_pinned_distribution_is_taken(checkout, tmp_path):
    given = distribution(tmp_path / "dist", {name: data for name, (data, _) in PINNED.items()})
    manifest = build_assets(tmp_path / "out", distribution=given, sources=checkout)
    archive = manifest["providers"]["cryptography"]["archive"]
    made_of = (tmp_path / "out" / manifest["files"][archive]["path"]).read_text()
    assert made_of == "cffi-1.whl cryptography-1.whl pycparser-1.whl"


@pytest.mark.usefixtures("no_downloads")
def test_a_wheel_with_a_wrong_hash_is_refused(checkout, tmp_path):
    files = {name: data for name, (data, _) in PINNED.items()} | {"cffi": b"not cffi"}
    with pytest.raises(AssetError, match="cffi"):
        build_assets(tmp_path / "out", distribution=distribution(tmp_path / "dist", files), sources=checkout)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_downloads")
def test_a_folder_of_the_same_abi_may_bring_its_own_lock(checkout, tmp_path):
    other = {"cryptography": (b"other cryptography", ["cffi"]), "cffi": (b"other cffi", [])}
    files = {name: data for name, (data, _) in other.items()}
    said: list[str] = []
    given = distribution(tmp_path / "dist", files, lock(other))
    manifest = build_assets(tmp_path / "out", distribution=given, sources=checkout, log=said.append)
    archive = manifest["providers"]["cryptography"]["archive"]
    assert (
        tmp_path / "out" / manifest["files"][archive]["path"]
    ).read_text() == "cffi-1.whl cryptography-1.whl"
    assert any("its own lock file was used" in line for line in said)


@pytest.mark.usefixtures("no_downloads")
@pytest.mark.parametrize("defect", ["abi", "hash", "missing"])
def test_a_folder_that_its_own_lock_does_not_describe_is_refused(checkout, tmp_path, defect):
    other = {"cryptography": (b"other cryptography", [])}
    files = {"missing": {}, "hash": {"cryptography": b"changed"}}.get(
        defect, {"cryptography": b"other cryptography"}
    )
    given = distribution(tmp_path / "dist", files, lock(other, abi="2025_0" if defect == "abi" else "2026_0"))
    with pytest.raises(AssetError):
        build_assets(tmp_path / "out", distribution=given, sources=checkout)


@pytest.mark.usefixtures("no_downloads")
def test_a_folder_that_is_not_ours_is_left_alone(checkout, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(AssetError, match="left alone"):
        build_assets(out, distribution="none", sources=checkout)
    assert (out / "thesis.txt").read_text() == "years of work"


@pytest.mark.usefixtures("no_downloads")
def test_assets_are_stale_when_a_source_changes(checkout, tmp_path):
    out = tmp_path / "out"
    build_assets(out, distribution="none", sources=checkout)
    assert _built_digest(out) == _digest(checkout, "none")
    (checkout.root / "worker" / "worker.js").write_text("// changed")
    assert _built_digest(out) != _digest(checkout, "none")
    assert _built_digest(tmp_path / "nowhere") is None


@pytest.mark.usefixtures("no_downloads")
@pytest.mark.parametrize(
    ("features", "there", "missing"),
    [
        (["dns"], ["resolve/resolver.py", "fetch/timeouts.py"], ["tls/client.py", "fetch/cookies.py"]),
        (["dns"], ["bridge/limits.py"], ["fetch/client.py", "websocket/client.py", "bridge/brotli.py"]),
        (["fetch"], ["fetch/client.py", "tls/client.py", "resolve/resolver.py"], ["websocket/client.py"]),
        (["socket"], ["websocket/client.py", "tls/client.py", "fetch/cookies.py"], ["fetch/client.py"]),
    ],
)
def test_features_leave_out_what_only_others_need(checkout, tmp_path, features, there, missing):
    names = zipfile.ZipFile(pack_own_wheel(Sources(CHECKOUT), tmp_path, features)).namelist()
    assert {f"smolmix_web/{name}" for name in there} <= set(names)
    assert not {f"smolmix_web/{name}" for name in missing} & set(names)
    out = tmp_path / "out"
    manifest = build_assets(out, distribution="none", features=features, sources=checkout)
    assert manifest["features"] == features
    # The page's own modules know it without asking.
    assert f"FEATURES = {json.dumps(features)};" in (out / "features.js").read_text()
    assert ("npm-brotli.js" in manifest["files"]) == ("fetch" in features)


@pytest.mark.parametrize(
    ("features", "wanted"),
    [
        (["dns"], ["dnspython"]),
        (["fetch"], ["certifi", "dnspython", "h11"]),
        (["socket"], ["certifi", "dnspython", "h11", "wsproto"]),
    ],
)
def test_features_choose_the_wheels(features, wanted):
    pins = parse_pins(Sources(CHECKOUT).requirements.read_text())
    wheels = [Path(f"{name}-py3-none-any.whl") for name, _ in pins]
    assert [wheel.name.split("-")[0] for wheel in wanted_wheels(wheels, features)] == wanted


@pytest.mark.usefixtures("no_downloads")
def test_other_features_are_another_build(checkout, tmp_path):
    out = tmp_path / "out"
    build_assets(out, distribution="none", features=["fetch", "dns"], sources=checkout)
    assert _built_digest(out) == _digest(checkout, "none", ["dns", "fetch"])
    assert _built_digest(out) != _digest(checkout, "none")


def test_features_that_do_not_exist_are_refused(tmp_path, capsys):
    for bad in ([], ["dns", "smtp"]):
        with pytest.raises(OptionError, match="dns, fetch, socket"):
            build_assets(tmp_path / "out", features=bad, sources=Sources(CHECKOUT))
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(["assets", "--out", "x", "--features", "dns,smtp"])
    assert ended.value.code == 2
    assert "'smtp' is not one of dns, fetch, socket" in capsys.readouterr().err


def test_an_installed_package_has_the_features_it_was_made_with(tmp_path, monkeypatch):
    prebuilt = tmp_path / "prebuilt"
    prebuilt.mkdir()
    (prebuilt / "manifest.json").write_text(json.dumps({"features": ["dns", "fetch", "socket"]}))
    monkeypatch.setattr("smolmix_web.assets.installed.PREBUILT", prebuilt)
    copy_prebuilt(tmp_path / "all", ("dns", "fetch", "socket"), compress=False)
    with pytest.raises(AssetError, match="from a checkout"):
        copy_prebuilt(tmp_path / "some", ("dns",), compress=False)
    assert not (tmp_path / "some").exists()


@pytest.mark.usefixtures("no_downloads")
def test_the_download_of_a_start_is_what_the_worker_asks_for(checkout, tmp_path):
    out = tmp_path / "out"
    manifest = build_assets(out, distribution="none", sources=checkout)
    names = ["manifest.json", "worker.js", "protocol.js", "features.js", *manifest["files"]]
    started = {
        name for name in names if name.endswith((".js", ".mjs", ".wasm", ".json")) or name == "image.bin"
    }
    started.remove("npm-brotli.js")
    paths = [out / manifest["files"].get(name, {"path": name})["path"] for name in started]
    assert first_download(out, manifest) == {"npm": sum(path.stat().st_size for path in paths)}
    large = out / "worker.js"
    large.with_name("worker.js.br").write_bytes(b"")
    smaller = sum(path.stat().st_size for path in paths if path != large)
    assert first_download(out, manifest) == {"npm": smaller}


def test_a_missing_npm_install_says_what_to_do(tmp_path):
    with pytest.raises(AssetError, match="npm ci"):
        _ = Sources(tmp_path).pyodide


@pytest.mark.usefixtures("no_downloads")
def test_a_file_whose_name_has_its_hash_changes_its_name_with_its_content(checkout, tmp_path):
    before = build_assets(tmp_path / "out", distribution="none", sources=checkout)["files"]
    assert before["pyodide.mjs"]["sha256"][:16] in before["pyodide.mjs"]["path"]
    (checkout.pyodide / "pyodide.mjs").write_text("changed")
    after = build_assets(tmp_path / "out", distribution="none", sources=checkout)["files"]
    assert after["pyodide.mjs"]["path"] != before["pyodide.mjs"]["path"]
    assert after["pyodide.asm.wasm"]["path"] == before["pyodide.asm.wasm"]["path"]
    # Entry points keep theirs.
    assert after["worker.js"]["path"] == "worker.js"


def test_licences_of_everything_bundled_are_listed(tmp_path):
    """Against what is really in the bundles: esbuild names every package in its own list."""
    sources = Sources(CHECKOUT)
    if not (CHECKOUT / "node_modules" / "esbuild").is_dir():
        pytest.skip("needs the packages of `npm ci`")
    wheel = tmp_path / "other-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(
            "other-1.0.dist-info/METADATA", "Name: other\nVersion: 1.0\nLicense-Expression: MIT\n\nx"
        )
        archive.writestr("other-1.0.dist-info/licenses/LICENSE", "Copyright of the others")
    text = third_party_licences(sources, [wheel])
    assert "other 1.0\nLicence: MIT\n\nCopyright of the others" in text
    assert f"Pyodide {sources.pyodide_version()}" in text
    for bundle, entry in [("crypto", "npm-crypto.js"), ("brotli", "npm-brotli.js")]:
        metafile = tmp_path / f"{bundle}.json"
        command = [
            str(CHECKOUT / "node_modules" / ".bin" / "esbuild"),
            f"worker/{bundle}/{entry}",
            "--bundle",
        ]
        options = [
            "--loader:.wasm=binary",
            "--format=esm",
            f"--metafile={metafile}",
            f"--outfile={tmp_path / 'x.js'}",
        ]
        subprocess.run([*command, *options], cwd=CHECKOUT, check=True, capture_output=True)
        packages = {
            match[1]
            for path in json.loads(metafile.read_text())["inputs"]
            if (match := re.match(r"node_modules/((?:@[^/]+/)?[^/]+)/", path))
        }
        assert packages
        for package in packages:
            assert re.search(rf"^{re.escape(package)} [0-9.]+\nLicence: \S", text, re.MULTILINE), package

"""The wheel where there is no checkout: the command, and the package inside a page's own Pyodide."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from package_support import ROOT, run
from playwright.async_api import Browser
from static_site import StaticSite

from smolmix_web import __version__
from smolmix_web.localnet.world import LocalWorld

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, npm: str) -> Path:
    """Built as ``pip wheel`` builds it, with the build backend of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    run(*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), ".", cwd=ROOT)
    (found,) = folder.glob("smolmix_web-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of a fresh environment with the wheel; dependencies are those of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    run(
        str(scripts / "python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        str(wheel),
        cwd=folder,
    )
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(str(scripts / "python"), "-c", code, cwd=folder).strip())
    ours = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    # After the environment's own, and without the .pth file of the editable install.
    (site / "dependencies.pth").write_text(f"{ours}\n")
    return scripts


def command(installed: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(installed / "smolmix-web"), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


async def test_the_command_says_what_it_is(installed: Path, tmp_path: Path) -> None:
    version = command(installed, "--version", cwd=tmp_path)
    assert (version.returncode, version.stdout.strip()) == (0, f"smolmix-web {__version__}")
    usage = command(installed, "--help", cwd=tmp_path)
    assert usage.returncode == 0
    assert all(name in usage.stdout for name in ("demo", "network", "fetch", "assets"))
    assert command(installed, "nonsense", cwd=tmp_path).returncode == 2
    # From the environment, not from the checkout.
    where = run(
        str(installed / "python"), "-c", "import smolmix_web; print(smolmix_web.__file__)", cwd=tmp_path
    )
    assert Path(where.strip()).is_relative_to(installed.parent)


async def test_assets_without_a_checkout(installed: Path, tmp_path: Path) -> None:
    done = command(installed, "assets", "--out", "smolmix", "--no-compress", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "smolmix" / "manifest.json").read_text())
    assert all((tmp_path / "smolmix" / entry["path"]).is_file() for entry in manifest["files"].values())
    part = command(installed, "assets", "--out", "part", "--features", "dns", cwd=tmp_path)
    assert (part.returncode, (tmp_path / "part").exists()) == (1, False)
    assert "built from a checkout" in part.stderr
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    refused = command(installed, "assets", "--out", "other", cwd=tmp_path)
    assert refused.returncode == 1
    assert "left alone" in refused.stderr


async def test_fetch_through_the_network_of_the_command(installed: Path, tmp_path: Path) -> None:
    network = await asyncio.create_subprocess_exec(
        *(str(installed / "smolmix-web"), "network", "--json", "network.json"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        while not (tmp_path / "network.json").is_file() and network.returncode is None:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        done = await asyncio.to_thread(
            command, installed, "fetch", "https://web.test/", "--network", "network.json", cwd=tmp_path
        )
        assert (done.returncode, bool(done.stdout)) == (0, True), done.stderr
    finally:
        network.terminate()
        await network.wait()


_PYTHON_PAGE = """
async ([options, index]) => {
  const { loadPyodide } = await import('/pyodide/pyodide.mjs');
  const pyodide = await loadPyodide();
  await pyodide.loadPackage('/wheels/' + index.micropip, { messageCallback: () => {} });
  pyodide.globals.set('given', JSON.stringify(options));
  return pyodide.runPythonAsync(`
import json
import micropip
await micropip.install("smolmix-web", index_urls=["${location.origin}/simple/{package_name}/"])
from smolmix_web import Tunnel, TunnelOptions
async with await Tunnel.connect(TunnelOptions.from_mapping(json.loads(given))) as tunnel:
    response = await tunnel.fetch("https://web.test/bytes/4000")
    result = [response.status, len(await response.read()), tunnel.info()["provider"]]
json.dumps(result)
`);
}
"""


async def test_micropip_in_a_page_that_runs_python(
    wheel: Path, world: LocalWorld, browser: Browser, tmp_path: Path
) -> None:
    """``micropip.install("smolmix-web")`` finds what is needed in an index, and nothing that is not."""
    site_folder = tmp_path / "page"
    shutil.copytree(ROOT / "node_modules" / "pyodide", site_folder / "pyodide")
    (site_folder / "index.html").write_text("<!doctype html><title>Python</title>")
    wheels = site_folder / "wheels"
    wheels.mkdir()
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    # They are for Pyodide's Python, not for this one.
    pip += ["--no-deps", "--only-binary", ":all:", "--python-version", "3.14"]
    for requirements in (
        ROOT / "src" / "smolmix_web" / "assets" / "worker-requirements.txt",
        Path(__file__).with_name("micropip-requirements.txt"),
    ):
        run(*pip, "--require-hashes", "--requirement", str(requirements), "--dest", str(wheels), cwd=tmp_path)
    shutil.copyfile(wheel, wheels / wheel.name)
    (micropip,) = (path.name for path in wheels.glob("micropip-*"))
    network = world.describe()
    options = {
        "network": network["directory"],
        "forceTls": False,
        "trustAnchors": network["trustAnchors"],
    }
    async with StaticSite(site_folder, "default-src * data: 'unsafe-eval' 'unsafe-inline'") as site:
        for path in wheels.iterdir():
            write_index(site_folder / "simple", path, site.url)
        page = await browser.new_page()
        page.set_default_timeout(200_000)
        page.on("console", lambda message: print(message.text))
        await page.goto(site.url)
        answer = await page.evaluate(_PYTHON_PAGE, [options, {"micropip": micropip}])
        await page.close()
    assert json.loads(answer) == [200, 4000, "npm"]
    asked = {name for name, _ in site.sent if name.startswith("wheels/")}
    assert not any("certifi" in name for name in asked)


def write_index(simple: Path, wheel: Path, base: str) -> None:
    """One project of a simple index (the JSON form of the simple repository API)."""
    name, version = wheel.name.split("-")[:2]
    folder = simple / name.replace("_", "-").lower()
    folder.mkdir(parents=True)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    file = {
        "filename": wheel.name,
        "url": f"{base}wheels/{wheel.name}",
        "hashes": {"sha256": digest},
        "size": wheel.stat().st_size,
    }
    index = {"meta": {"api-version": "1.1"}, "name": folder.name, "versions": [version], "files": [file]}
    (folder / "index.json").write_text(json.dumps(index))

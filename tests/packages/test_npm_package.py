"""The npm package in projects of its users: without a bundler, and with Vite, webpack and esbuild."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from package_support import ROOT, SETTINGS, run
from playwright.async_api import Browser, expect
from static_site import StaticSite, documented_policy

from smolmix_web.localnet.world import LocalWorld

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]

BUNDLERS = ("vite", "webpack", "esbuild")


@pytest.fixture(scope="module")
def package(npm: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked tarball of ``npm pack``."""
    folder = tmp_path_factory.mktemp("package")
    output = run(npm, "pack", "--json", "--pack-destination", str(folder), cwd=ROOT)
    (tarball,) = folder.glob("*.tgz")
    assert json.loads(output[output.index("[") :])[0]["name"] == "smolmix-web"
    with tarfile.open(tarball) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


@pytest.fixture(scope="module")
def projects(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of examples elsewhere, with the package installed and the bundlers at hand."""
    folder = tmp_path_factory.mktemp("projects") / "examples"
    ignored = shutil.ignore_patterns("node_modules", "dist", "public")
    shutil.copytree(ROOT / "examples", folder, ignore=ignored)
    modules = folder / "node_modules"
    modules.mkdir()
    for one in (ROOT / "node_modules").iterdir():
        if one.name not in (".bin", ".ready", ".package-lock.json"):
            (modules / one.name).symlink_to(one)
    shutil.copytree(package, modules / "smolmix-web")
    return folder


def build(projects: Path, example: str) -> Path:
    """Does what the example's ``npm run build`` does; returns the folder to serve."""
    folder = projects / example
    copy = str(projects / "node_modules" / "smolmix-web" / "bin" / "copy-assets.mjs")
    if example == "plain":
        run("node", copy, "smolmix", cwd=folder)
        return folder
    script = json.loads((folder / "package.json").read_text())["scripts"]["build"]
    for command in script.split(" && "):
        program, *arguments = command.split()
        paths = {
            "smolmix-web-assets": copy,
            "vite": str(ROOT / "node_modules" / "vite" / "bin" / "vite.js"),
        }
        words = ["node", *arguments] if program == "node" else ["node", paths[program], *arguments]
        run(*words, cwd=folder)
    return folder / "dist"


def site_for(folder: Path, world: LocalWorld, *, isolated: bool = False) -> StaticSite:
    network = world.describe()
    gateways = [node["websocket"] for node in network["nodes"].values() if "websocket" in node]
    policy = documented_policy(origin(network["directory"]), map(origin, gateways))
    return StaticSite(folder, policy, isolated=isolated)


def origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


async def use(browser: Browser, site: StaticSite, world: LocalWorld) -> None:
    """Fetch once with the example's page. Nothing may break the policy, or go elsewhere."""
    context = await browser.new_context()
    page = await context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    options = {"network": world.describe()["directory"], "forceTls": "false"}
    await page.goto(f"{site.url}?{urlencode(options)}")
    await page.get_by_label("URL").fill("http://web.test/bytes/2000")
    await page.get_by_role("button").click()
    status = page.get_by_role("status")
    await expect(status).to_have_text("200 OK", timeout=SETTINGS.SETUP_TIMEOUT)
    await expect(page.locator("pre")).not_to_be_empty()
    await context.close()
    assert [problem for problem in problems if "favicon" not in problem] == []


async def test_what_is_in_it(package: Path) -> None:
    about = json.loads((package / "package.json").read_text())
    manifest = json.loads((package / "assets" / "manifest.json").read_text())
    assert about["version"] == manifest["version"]
    assert not about.get("dependencies"), "everything that runs is bundled"
    assert (package / about["exports"]["."]["default"]).is_file()
    assert (package / about["exports"]["."]["types"]).is_file()
    assert all((package / "assets" / entry["path"]).is_file() for entry in manifest["files"].values())
    assert (package / "assets" / "THIRD_PARTY_LICENSES.txt").stat().st_size > 10_000
    assert (package / "LICENSE").is_file()
    assert not list(package.rglob("*.py"))


async def test_types_are_found_by_a_project(projects: Path) -> None:
    project = projects / "typed"
    project.mkdir()
    (project / "main.ts").write_text(
        "import { mixFetch, setupMixTunnel } from 'smolmix-web';\n"
        "await setupMixTunnel({ clientId: 'me' });\n"
        "const response: Response = await mixFetch('https://example.com/');\n"
        "// @ts-expect-error: no such option\n"
        "await setupMixTunnel({ nonsense: 1 });\n"
        "export { response };\n"
    )
    (project / "package.json").write_text('{"type": "module"}')
    options = {
        "module": "NodeNext",
        "target": "ES2023",
        "lib": ["ES2024", "DOM", "DOM.Iterable"],
        "types": [],
    }
    config = {"compilerOptions": {**options, "strict": True, "noEmit": True}, "files": ["main.ts"]}
    (project / "tsconfig.json").write_text(json.dumps(config))
    run(str(ROOT / "node_modules" / ".bin" / "tsc"), "-p", ".", cwd=project)


async def test_features_of_a_package_are_those_it_was_made_with(package: Path, tmp_path: Path) -> None:
    def copy(features: str) -> subprocess.CompletedProcess[str]:
        script = str(package / "bin" / "copy-assets.mjs")
        words = ["node", script, str(tmp_path / "smolmix"), "--features", features]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)

    assert copy("dns,smtp").returncode == 2
    refused = copy("dns")
    assert refused.returncode == 1
    assert "made for the features dns,fetch,socket" in refused.stderr
    assert not (tmp_path / "smolmix").exists()
    assert copy("socket,fetch,dns").returncode == 0
    assert (tmp_path / "smolmix" / "features.js").is_file()


@pytest.mark.parametrize("bundler", BUNDLERS)
async def test_a_bundled_page(projects: Path, world: LocalWorld, browser: Browser, bundler: str) -> None:
    async with site_for(build(projects, bundler), world) as site:
        await use(browser, site, world)
    # The worker and what it loads came from the copied folder, and from nowhere else.
    assert {"smolmix/worker.js", "smolmix/manifest.json"} <= {name for name, _ in site.sent}


async def test_a_page_without_a_bundler(projects: Path, world: LocalWorld, browser: Browser) -> None:
    async with site_for(build(projects, "plain"), world, isolated=True) as site:
        await use(browser, site, world)
        assert "smolmix/smolmix.js" in {name for name, _ in site.sent}

/**
 * From nothing to a running bridge: pinned Pyodide, the wheels of manifest.json, a crypto provider.
 *
 * Everything comes from the folder of the assets; `smolmix_web/assets` builds it. Downloads run side by side while
 * Python starts. Each stage is reported once when it is complete, with its place on the way as a fraction.
 *
 * @module
 */

/** @import {Failure, ProviderChoice} from './protocol.js' */

/**
 * manifest.json, as far as the worker reads it. Paths are relative to it.
 *
 * @typedef {object} Manifest
 * @property {string} version of smolmix-web
 * @property {number} protocol
 * @property {string} pyodide
 * @property {Record<string, {sha256: string, size: number}>} files
 * @property {string[]} wheels
 * @property {{npm: {module: string}, cryptography?: {wheels: string[]}}} providers
 */

/** @typedef {(text: string, buffer: Uint8Array | undefined) => void} Post */
/** @typedef {(text: string, buffer: ArrayBuffer | undefined) => void} Receive */

/**
 * The part of Pyodide that is used here.
 *
 * @typedef {object} Pyodide
 * @property {string} version
 * @property {(archive: ArrayBuffer, format: 'wheel', options: {extractDir: string}) => void} unpackArchive
 * @property {(name: string) => any} pyimport
 */

export class BootError extends Error {
  /** @param {string} code @param {string} message @param {string | null} [field] */
  constructor(code, message, field = null) {
    super(message);
    this.name = 'BootError';
    this.code = code;
    this.field = field;
  }

  /** @returns {Failure} */
  toFailure() {
    const { name, code, message, field } = this;
    return { name, code, message, field, retriable: code === 'ASSETS', phase: null };
  }
}

const STAGES = ['manifest', 'python', 'packages', 'bridge'];

/**
 * @typedef {object} BootTask
 * @property {string} assets URL of the folder with manifest.json
 * @property {number} version protocol version of the page
 * @property {ProviderChoice} provider
 * @property {(stage: string, fraction: number) => void} onProgress
 */

/**
 * @param {BootTask & {post: Post}} task `post` is where Python puts its messages
 * @returns {Promise<{receive: Receive, summary: Record<string, string>}>}
 * @throws {BootError}
 */
export async function boot(task) {
  const { pyodide, npm, provider, version } = await startPackages(task);
  /** @type {{start: (post: Post, provider: string, npm: object, brotli: () => Promise<object>) => Receive, destroy: () => void}} */
  const entry = pyodide.pyimport('smolmix_web.bridge.entry');
  const receive = entry.start(task.post, provider, npm, () => import(new URL('npm-brotli.js', task.assets).href));
  entry.destroy();
  task.onProgress('bridge', 1);
  return { receive, summary: { version, pyodide: pyodide.version, provider } };
}

/**
 * Everything but the bridge: Python with all packages, and the module of the npm bundle.
 *
 * @param {BootTask} task
 * @returns {Promise<{pyodide: Pyodide, npm: object, provider: 'cryptography' | 'npm', version: string}>}
 * @throws {BootError}
 */
export async function startPackages({ assets, version, provider, onProgress }) {
  /** @param {string} stage */
  const reached = (stage) => onProgress(stage, (STAGES.indexOf(stage) + 1) / STAGES.length);
  const manifest = await fetchManifest(assets);
  if (manifest.protocol !== version) {
    throw new BootError('ASSETS', `the assets speak protocol ${manifest.protocol}, the page ${version}; rebuild them`);
  }
  const chosen = chooseProvider(manifest, provider);
  reached('manifest');
  const wheels = [...manifest.wheels, ...(chosen === 'cryptography' ? (manifest.providers.cryptography?.wheels ?? []) : [])];
  const downloads = Promise.all(wheels.map((path) => fetchAsset(assets, manifest, path)));
  const bundle = importBundle(assets, manifest);
  // Each is awaited below; a failure must not count as unhandled while Python still starts.
  downloads.catch(() => {});
  bundle.catch(() => {});
  const pyodide = await startPython(assets);
  reached('python');
  const extractDir = sitePackages(pyodide);
  for (const wheel of await downloads) pyodide.unpackArchive(wheel, 'wheel', { extractDir });
  const npm = await bundle;
  reached('packages');
  return { pyodide, npm, provider: chosen, version: manifest.version };
}

/** @param {string} assets @returns {Promise<Manifest>} */
async function fetchManifest(assets) {
  const response = await fetchOrThrow(new URL('manifest.json', assets), { cache: 'no-cache' });
  try {
    return await response.json();
  } catch {
    throw new BootError('ASSETS', `${response.url} is not a manifest of smolmix-web`);
  }
}

/**
 * @param {Manifest} manifest
 * @param {ProviderChoice} wish
 * @returns {'cryptography' | 'npm'}
 */
function chooseProvider({ providers }, wish) {
  const choice = wish === 'auto' ? (providers.cryptography ? 'cryptography' : 'npm') : wish;
  if (!providers[choice]) {
    throw new BootError('BAD_OPTION', `cryptoProvider: these assets were built without '${choice}'`, 'cryptoProvider');
  }
  return choice;
}

/** @param {string} assets @param {Manifest} manifest @param {string} path @returns {Promise<ArrayBuffer>} */
async function fetchAsset(assets, manifest, path) {
  const entry = manifest.files[path];
  if (!entry) throw new BootError('ASSETS', `manifest.json does not list ${path}`);
  const url = new URL(path, assets);
  return (await fetchOrThrow(url, { integrity: `sha256-${hexToBase64(entry.sha256)}` })).arrayBuffer();
}

/** @param {URL} url @param {RequestInit} init */
async function fetchOrThrow(url, init) {
  /** @type {Response} */
  let response;
  try {
    response = await fetch(url, { ...init, credentials: 'same-origin' });
  } catch (error) {
    throw new BootError('ASSETS', `${url} could not be loaded: ${error}`);
  }
  if (!response.ok) throw new BootError('ASSETS', `${url}: status ${response.status}`);
  return response;
}

/** Both providers need it: `cryptography` has no BLAKE3. @param {string} assets @param {Manifest} manifest */
async function importBundle(assets, manifest) {
  const url = new URL(manifest.providers.npm.module, assets).href;
  try {
    return await import(url);
  } catch (error) {
    throw new BootError('ASSETS', `${url} could not be loaded: ${error}`);
  }
}

/** @param {string} assets @returns {Promise<Pyodide>} */
async function startPython(assets) {
  const indexURL = new URL('pyodide/', assets).href;
  try {
    const { loadPyodide } = await import(`${indexURL}pyodide.mjs`);
    return await loadPyodide({
      indexURL,
      stdout: (/** @type {string} */ line) => console.debug(line),
      stderr: (/** @type {string} */ line) => console.warn(line),
    });
  } catch (error) {
    throw new BootError('ASSETS', `Python could not be started: ${error}`);
  }
}

/** @param {Pyodide} pyodide @returns {string} */
function sitePackages(pyodide) {
  const site = pyodide.pyimport('site');
  const folders = site.getsitepackages();
  const [folder] = folders.toJs();
  folders.destroy();
  site.destroy();
  return folder;
}

/** @param {string} hex */
function hexToBase64(hex) {
  const bytes = hex.match(/../g)?.map((pair) => Number.parseInt(pair, 16)) ?? [];
  return btoa(String.fromCharCode(...bytes));
}

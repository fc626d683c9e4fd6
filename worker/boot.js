/**
 * From nothing to a running bridge: pinned Pyodide, our packages, a crypto provider.
 *
 * Everything comes from the folder of the assets; `smolmix_web/assets` builds it. All downloads run side by side.
 * Stages are reported when they are complete, the downloads after each file, with the place on the way as a fraction.
 *
 * @module
 */

/** @import {Manifest} from './assets.js' */
/** @import {ProviderChoice} from './protocol.js' */
/** @import {Pyodide} from './python.js' */

import { BootError, Downloads, fetchManifest } from './assets.js';
import { askEarly } from './early.js';
import { CORE, LIBRARY, PACKAGES, restorePython, startPython, unpackLate } from './python.js';

/** @typedef {(text: string, buffer: Uint8Array | undefined) => void} Post */
/** @typedef {(text: string, buffer: ArrayBuffer | undefined) => void} Receive */

/** Where on the way a stage ends. `files` is reached little by little. */
const STAGES = { manifest: 0.05, files: 0.6, python: 0.85, packages: 0.95, bridge: 1 };

/**
 * @typedef {object} BootTask
 * @property {string} assets URL of the folder with manifest.json
 * @property {number} version protocol version of the page
 * @property {ProviderChoice} provider
 * @property {string | null} [integrity] of the manifest
 * @property {string | null} [network] URL of the directory, to be asked while Python starts; null: Nym's; undefined: none
 * @property {boolean} [image] whether the memory image may be used
 * @property {(stage: string, fraction: number) => void} onProgress
 */

/**
 * @param {BootTask & {post: Post}} task `post` is where Python puts its messages
 * @returns {Promise<{receive: Receive, summary: Record<string, string | string[]>}>}
 * @throws {BootError}
 */
export async function boot(task) {
  const started = await startPackages({ image: true, ...task });
  const { pyodide, npm, provider, version, downloads, start, early } = started;
  const platform = pyodide.pyimport('smolmix_web.platform.browser');
  platform.use_early_answers(early);
  platform.destroy();
  /** @type {{start: (post: Post, provider: string, npm: object, brotli: () => Promise<object>) => Receive, destroy: () => void}} */
  const entry = pyodide.pyimport('smolmix_web.bridge.entry');
  const receive = entry.start(task.post, provider, npm, () => downloads.module('npm-brotli.js'));
  entry.destroy();
  task.onProgress('bridge', STAGES.bridge);
  return { receive, summary: { version, pyodide: pyodide.version, provider, start, features: downloads.manifest.features } };
}

/**
 * Everything but the bridge: Python with all packages, and the module of the npm bundle. Only with `image` Python may
 * come from the memory image, which can import nothing further.
 *
 * @param {BootTask} task
 * @returns {Promise<{pyodide: Pyodide, npm: object, provider: 'cryptography' | 'npm', version: string,
 *     downloads: Downloads, start: 'image' | 'full', early: (url: string) => Promise<Response> | undefined}>}
 * @throws {BootError}
 */
export async function startPackages(task) {
  const { assets, version, provider, integrity = null, image = false, network, onProgress } = task;
  const manifest = await fetchManifest(assets, integrity);
  if (manifest.protocol !== version) {
    throw new BootError('ASSETS', `the assets speak protocol ${manifest.protocol}, the page ${version}; rebuild them`);
  }
  const chosen = chooseProvider(manifest, provider);
  onProgress('manifest', STAGES.manifest);
  const { directory } = manifest;
  const early = network === undefined ? () => undefined : askEarly(network ?? directory.network, directory.paths);

  // Both providers need the module: `cryptography` has no BLAKE3.
  const { module } = manifest.providers.npm;
  const extra = (chosen === 'cryptography' && manifest.providers.cryptography?.archive) || null;
  const picture = image ? (manifest.image ?? null) : null;
  const wanted = [...CORE, ...(picture ? [] : [LIBRARY]), module];
  const whole = [...(picture ? [picture] : [PACKAGES]), ...(extra ? [extra] : [])];
  let [complete, expected] = [0, 0];
  const downloads = new Downloads(assets, manifest, (size) => {
    complete += size;
    const share = Math.min(complete / expected, 1);
    onProgress('files', STAGES.manifest + share * (STAGES.files - STAGES.manifest));
  });
  expected = downloads.size([...wanted, ...whole]);
  downloads.start(wanted, whole);
  const npm = downloads.module(module);
  npm.catch(() => {});

  const { pyodide, start } = await startEither(downloads, picture);
  onProgress('python', STAGES.python);
  if (extra) unpackLate(pyodide, await downloads.bytes(extra));
  const loaded = await npm;
  onProgress('packages', STAGES.packages);
  return { pyodide, npm: loaded, provider: chosen, version: manifest.version, downloads, start, early };
}

/**
 * @param {Downloads} downloads
 * @param {string | null} image
 * @returns {Promise<{pyodide: Pyodide, start: 'image' | 'full'}>}
 */
async function startEither(downloads, image) {
  if (image) {
    try {
      return { pyodide: await restorePython(downloads, image), start: 'image' };
    } catch (error) {
      // An image is a shortcut, never a condition. The other way uses a fresh instance.
      console.warn(`smolmix: the memory image cannot be used: ${error}`);
      downloads.forget(CORE);
    }
  }
  try {
    return { pyodide: await startPython(downloads), start: 'full' };
  } catch (error) {
    if (error instanceof BootError) throw error;
    throw new BootError('ASSETS', `Python could not be started: ${error}`);
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

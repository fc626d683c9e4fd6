/**
 * Options of a tunnel, as far as the page looks at them: Python knows what each of them may be.
 *
 * @module
 */

/** @import {MixTunnelOptions} from './smolmix.js' */

/** Those that concern the page side; all others go to Python. */
const PAGE_OPTIONS = ['assets', 'assetsIntegrity', 'cryptoProvider'];
const PROVIDERS = ['auto', 'cryptography', 'npm'];
const PLAIN = ['string', 'number', 'boolean', 'undefined'];

/**
 * @param {unknown} options
 * @returns {MixTunnelOptions} a copy
 * @throws {TypeError} naming the option that is not acceptable
 */
export function checkOptions(options) {
  if (typeof options !== 'object' || options === null) throw new TypeError('options: an object is wanted');
  const { assets, cryptoProvider, ...others } = /** @type {MixTunnelOptions} */ (options);
  if (assets !== undefined) parseAssets(assets);
  if (cryptoProvider !== undefined && !PROVIDERS.includes(cryptoProvider)) {
    throw new TypeError(`cryptoProvider: '${cryptoProvider}' is not one of ${PROVIDERS.join(', ')}`);
  }
  for (const [name, value] of Object.entries(others)) {
    // What is none of these could not cross to Python, and there would be no name in the error.
    if (value !== null && !PLAIN.includes(typeof value)) {
      throw new TypeError(`${name}: a text, a number, true or false is wanted, not ${describe(value)}`);
    }
  }
  return { ...options };
}

/** Where the folder of the assets is. @param {string | URL | undefined} assets @returns {string} */
export function parseAssets(assets) {
  if (assets === undefined) return new URL('./', import.meta.url).href;
  if (typeof assets !== 'string' && !(assets instanceof URL)) throw new TypeError('assets: a URL is wanted');
  try {
    // A page and a worker can have a tunnel.
    return new URL(assets, globalThis.document?.baseURI ?? globalThis.location.href).href;
  } catch {
    throw new TypeError(`assets: '${assets}' is not a URL`);
  }
}

/**
 * In a page made by a bundler the files of the assets are not beside the bundle, so the worker comes from where the
 * option says; only from the page's own origin, as browsers want it.
 *
 * @param {string | URL | undefined} assets
 * @returns {Worker}
 */
export function makeWorker(assets) {
  const folder = new URL(parseAssets(assets));
  if (assets !== undefined && folder.origin === globalThis.location.origin) {
    return new Worker(new URL('worker.js', folder), { type: 'module', name: 'smolmix' });
  }
  // Bundlers know the next line by its looks.
  return new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'smolmix' });
}

/** @param {unknown} value */
const describe = (value) => (typeof value === 'object' ? 'an object' : `a ${typeof value}`);

/** Whether two sets of options describe the same tunnel. @param {MixTunnelOptions} one @param {MixTunnelOptions} other */
export function sameOptions(one, other) {
  /** @param {MixTunnelOptions} options */
  const canonical = (options) =>
    JSON.stringify(
      Object.entries(options)
        .filter(([, value]) => value !== undefined && value !== null)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, value]) => [name, PAGE_OPTIONS.includes(name) ? String(value) : value]),
    );
  return canonical(one) === canonical(other);
}

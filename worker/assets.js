/**
 * The files of the assets folder: where the manifest says they are, checked against its hashes.
 *
 * @module
 */

/** @import {Failure} from './protocol.js' */

/**
 * manifest.json, as far as the worker reads it. Paths are relative to it; a path with a hash in it never changes its
 * content, so caches may keep it for ever.
 *
 * @typedef {object} Manifest
 * @property {string} version of smolmix-web
 * @property {number} protocol
 * @property {object} pyodideInfo what Pyodide's own list of packages says of its build
 * @property {string[]} features
 * @property {Record<string, {path: string, sha256: string, size: number}>} files by name
 * @property {string | null} [image] name of the memory image
 * @property {{npm: {module: string}, cryptography?: {archive: string}}} providers
 * @property {{network: string, paths: string[]}} directory what the set-up will ask for first
 */

/** What keeps the worker from starting. */
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

/**
 * @param {string} assets URL of the folder
 * @param {string | null} integrity of the manifest, as in a `script` element ("sha256-..."); null: not checked
 * @returns {Promise<Manifest>}
 * @throws {BootError}
 */
export async function fetchManifest(assets, integrity) {
  const check = integrity ? { integrity } : {};
  const response = await fetchOrThrow(new URL('manifest.json', assets), { cache: 'no-cache', ...check });
  try {
    return await response.json();
  } catch {
    throw new BootError('ASSETS', `${response.url} is not a manifest of smolmix-web`);
  }
}

/** Downloads of one start. A file is asked for once, however many want it. */
export class Downloads {
  /** @type {Manifest} */
  manifest;
  #assets;
  #onBytes;
  /** @type {Map<string, Promise<Response>>} */
  #started = new Map();

  /**
   * @param {string} assets
   * @param {Manifest} manifest
   * @param {(size: number) => void} onBytes a file of this size is complete
   */
  constructor(assets, manifest, onBytes) {
    this.#assets = assets;
    this.manifest = manifest;
    this.#onBytes = onBytes;
  }

  /** @param {string} name @returns {URL} @throws {BootError} the manifest does not have it */
  url(name) {
    return new URL(this.#entry(name).path, this.#assets);
  }

  /** @param {string[]} names @returns {number} bytes, uncompressed */
  size(names) {
    return names.reduce((sum, name) => sum + this.#entry(name).size, 0);
  }

  /** Begins without waiting; failures show where the file is used. @param {string[]} names */
  start(names) {
    for (const name of names) this.response(name).catch(() => {});
  }

  /** A response whose hash has been checked. Its body can be read once. @param {string} name @returns {Promise<Response>} */
  response(name) {
    let response = this.#started.get(name);
    if (!response) {
      const { sha256, size } = this.#entry(name);
      // The promise of a response with an integrity is kept when the body is there and right.
      response = fetchOrThrow(this.url(name), { integrity: `sha256-${hexToBase64(sha256)}` });
      response.then(
        () => this.#onBytes(size),
        () => {},
      );
      this.#started.set(name, response);
    }
    return response;
  }

  /** Asks for them again when they are wanted again. @param {string[]} names */
  forget(names) {
    for (const name of names) this.#started.delete(name);
  }

  /** @param {string} name @returns {Promise<ArrayBuffer>} */
  async bytes(name) {
    return (await this.response(name)).arrayBuffer();
  }

  /**
   * A module, loaded once its file has been checked (the import then finds it in the HTTP cache).
   *
   * @param {string} name
   * @returns {Promise<any>}
   */
  async module(name) {
    const url = this.url(name).href;
    await this.response(name);
    try {
      return await import(/* webpackIgnore: true */ /* @vite-ignore */ url);
    } catch (error) {
      throw new BootError('ASSETS', `${url} could not be loaded: ${error}`);
    }
  }

  /** @param {string} name */
  #entry(name) {
    const entry = this.manifest.files[name];
    if (!entry) throw new BootError('ASSETS', `manifest.json does not list ${name}`);
    return entry;
  }
}

/** @param {URL} url @param {RequestInit} init */
async function fetchOrThrow(url, init) {
  /** @type {Response} */
  let response;
  try {
    response = await fetch(url, { ...init, credentials: 'same-origin' });
  } catch (error) {
    throw new BootError('ASSETS', `${url} could not be loaded, or is not the file that was built: ${error}`);
  }
  if (!response.ok) throw new BootError('ASSETS', `${url}: status ${response.status}`);
  return response;
}

/** @param {string} hex */
function hexToBase64(hex) {
  const bytes = hex.match(/../g)?.map((pair) => Number.parseInt(pair, 16)) ?? [];
  return btoa(String.fromCharCode(...bytes));
}

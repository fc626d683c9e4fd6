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
  /** @type {Map<string, Promise<ArrayBuffer>>} */
  #bodies = new Map();

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

  /**
   * Begins without waiting; failures show where the file is used.
   *
   * @param {string[]} names
   * @param {string[]} whole those that `bytes` will be asked for
   */
  start(names, whole) {
    for (const name of names) this.response(name).catch(() => {});
    for (const name of whole) {
      const body = this.#load(name);
      body.catch(() => {});
      this.#bodies.set(name, body);
    }
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

  /** The checked content of a file. It is not kept: another call asks for it again. @param {string} name */
  bytes(name) {
    const body = this.#bodies.get(name) ?? this.#load(name);
    this.#bodies.delete(name);
    return body;
  }

  /**
   * Without an `integrity`, for which browsers keep a second copy of the body and read it only when all is there.
   *
   * @param {string} name
   * @returns {Promise<ArrayBuffer>}
   */
  async #load(name) {
    // Where the page is no secure context there is no such thing.
    if (!globalThis.crypto?.subtle) {
      const response = await this.response(name);
      this.#started.delete(name);
      return response.arrayBuffer();
    }
    const { sha256, size } = this.#entry(name);
    const url = this.url(name);
    const response = await fetchOrThrow(url, {});
    /** @type {ArrayBuffer} */
    let data;
    try {
      data = await response.arrayBuffer();
    } catch (error) {
      throw notLoaded(url, error);
    }
    if (bytesToHex(await crypto.subtle.digest('SHA-256', data)) !== sha256) throw notLoaded(url, 'another SHA-256');
    this.#onBytes(size);
    return data;
  }

  /**
   * A module, loaded once its file has been checked (the import then finds it in the HTTP cache).
   *
   * @param {string} name
   * @returns {Promise<any>}
   */
  async module(name) {
    const url = this.url(name).href;
    const response = await this.response(name);
    response.body?.cancel(); // or the response would hold its bytes for ever
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
    throw notLoaded(url, error);
  }
  if (!response.ok) throw new BootError('ASSETS', `${url}: status ${response.status}`);
  return response;
}

/** @param {URL} url @param {unknown} why */
function notLoaded(url, why) {
  return new BootError('ASSETS', `${url} could not be loaded, or is not the file that was built: ${why}`);
}

/** @param {ArrayBuffer} bytes */
function bytesToHex(bytes) {
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @param {string} hex */
function hexToBase64(hex) {
  const bytes = hex.match(/../g)?.map((pair) => Number.parseInt(pair, 16)) ?? [];
  return btoa(String.fromCharCode(...bytes));
}

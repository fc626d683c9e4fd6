/**
 * One tunnel: a worker, its life cycle, and the calls that go through it.
 *
 * @module
 */

/** @import {MixAddress, MixFetchInit, MixResolveOptions, MixSocketOptions, MixTunnelOptions} from './smolmix.js' */
/** @import {TunnelInfo, TunnelLog, TunnelStats, TunnelState} from './smolmix.js' */
/** @import {MixTunnel as MixTunnelType} from './smolmix.js' */
/** @import {EventName} from './protocol.js' */
/** @import {ResponseHead} from './response.js' */

import { abortable, abortableRequest } from './abortable.js';
import { MixClient } from './client.js';
import { MixError, fetchError } from './errors.js';
import { WorkerLink } from './link.js';
import { PROTOCOL_VERSION } from './protocol.js';
import { prepareRequest } from './request.js';
import { prepareResolve } from './resolve.js';
import { makeResponse } from './response.js';
import { MixWebSocket } from './websocket.js';

/** Options that concern the page side; all others go to Python, which knows and checks them. */
const PAGE_OPTIONS = ['assets', 'cryptoProvider'];
const PROVIDERS = ['auto', 'cryptography', 'npm'];

/** @implements {MixTunnelType} */
export class MixTunnel {
  /** `statechange`, `progress`, `stats` and `log`, each a `CustomEvent` with its particulars in `detail`. */
  events = new EventTarget();

  /** Raw messages over this tunnel's gateway. */
  client = new MixClient(() => this.ready());

  #options;
  /** @type {WorkerLink | null} */
  #link = null;
  /** @type {Promise<void> | null} */
  #setup = null;
  /** @type {Promise<void> | null} */
  #disconnecting = null;
  /** @type {TunnelState} */
  #state = { state: 'idle', reason: 'not set up yet' };

  /** @param {MixTunnelOptions} [options] */
  constructor(options = {}) {
    this.#options = checkOptions(options);
  }

  /**
   * Starts the worker and connects. A second call shares the first one's promise.
   *
   * @returns {Promise<void>}
   */
  setup() {
    this.#setup ??= this.#start();
    return this.#setup;
  }

  /** Closes the tunnel and ends the worker. Afterwards `setup` works again. @returns {Promise<void>} */
  disconnect() {
    this.#disconnecting ??= this.#stop().finally(() => {
      this.#disconnecting = null;
    });
    return this.#disconnecting;
  }

  /** @returns {Promise<TunnelState>} */
  async getState() {
    return { ...this.#state };
  }

  /** @returns {Promise<TunnelInfo>} */
  async getInfo() {
    return (await this.ready()).request('info', {});
  }

  /** @returns {Promise<TunnelStats>} */
  async getStats() {
    return (await this.ready()).request('stats', {});
  }

  /**
   * `fetch` through the mixnet.
   *
   * @param {RequestInfo | URL} input
   * @param {MixFetchInit} [init]
   * @returns {Promise<Response>}
   */
  async mixFetch(input, init = {}) {
    const { fields, stream, signal } = await prepareRequest(input, init);
    signal?.throwIfAborted();
    try {
      const link = await abortable(this.ready(), signal);
      return await send(link, fields, stream, signal);
    } catch (error) {
      stream?.cancel(error).catch(() => {});
      throw fetchError(error);
    }
  }

  /**
   * The address of a name, asked through the mixnet, an IPv4 one where there is one. IP literals are returned as they
   * are. With `all` it gives every address with its family and time to live.
   *
   * @overload
   * @param {string} host
   * @param {MixResolveOptions & {all: true}} options
   * @returns {Promise<MixAddress[]>}
   *
   * @overload
   * @param {string} host
   * @param {MixResolveOptions & {all?: false}} [options]
   * @returns {Promise<string>}
   *
   * @param {string} host
   * @param {MixResolveOptions} [options]
   * @returns {Promise<string | MixAddress[]>}
   */
  async mixResolve(host, options = {}) {
    const { fields, signal } = prepareResolve(host, options);
    signal?.throwIfAborted();
    const link = await abortable(this.ready(), signal);
    return abortableRequest(link, 'resolve', fields, signal);
  }

  /**
   * A WebSocket through the mixnet.
   *
   * @param {string | URL} url
   * @param {string | string[]} [protocols]
   * @param {MixSocketOptions} [options]
   * @returns {MixWebSocket}
   */
  mixSocket(url, protocols, options) {
    return new MixWebSocket(url, protocols, { ...options, tunnel: this });
  }

  /** Internal. @returns {Promise<WorkerLink>} the link of a tunnel that is ready */
  async ready() {
    if (this.#setup) await this.#setup;
    const { state, reason } = this.#state;
    // While it reconnects, Python decides what can wait.
    if (this.#link && (state === 'ready' || state === 'reconnecting')) return this.#link;
    throw new MixError({
      code: 'TUNNEL_NOT_READY',
      message: `the tunnel is ${state} (${reason}); set it up first`,
      retriable: true,
    });
  }

  async #start() {
    // A tunnel that is on its way out keeps its gateway session until it is gone.
    if (this.#disconnecting) await this.#disconnecting;
    this.#dropLink('a new tunnel is being set up');
    this.#setState({ state: 'connecting', reason: 'starting the worker' });
    const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'smolmix' });
    const link = new WorkerLink(
      worker,
      (event, detail) => this.#onEvent(link, event, detail),
      (error) => this.#onFailure(link, error),
    );
    this.#link = link;
    const { assets, cryptoProvider, ...options } = this.#options;
    try {
      await link.request('boot', {
        version: PROTOCOL_VERSION,
        assets: new URL(assets ?? './', assets ? baseUrl() : import.meta.url).href,
        provider: cryptoProvider ?? 'auto',
      });
      await link.request('setup', { options });
      if (link === this.#link) this.client.attach(link);
    } catch (error) {
      this.#onFailure(link, /** @type {MixError} */ (error));
      throw error;
    }
  }

  async #stop() {
    const link = this.#link;
    if (!link) return;
    this.#setup?.catch(() => {});
    this.#setup = null;
    this.#setState({ state: 'shutting_down', reason: 'disconnect was called' });
    try {
      await link.request('disconnect', {});
    } catch {
      // It failed before; there is nothing left to close in order.
    }
    if (this.#link === link) this.#dropLink('the tunnel was disconnected');
    this.#setState({ state: 'shutdown', reason: 'disconnected' });
  }

  /** @param {string} reason */
  #dropLink(reason) {
    this.#link?.terminate(new MixError({ code: 'TUNNEL_CLOSED', message: reason, retriable: true }));
    this.#link = null;
  }

  /** @param {WorkerLink} link @param {EventName} event @param {any} detail */
  #onEvent(link, event, detail) {
    if (link !== this.#link) return;
    if (event === 'log') print(detail);
    if (event !== 'statechange') {
      this.events.dispatchEvent(new CustomEvent(event, { detail }));
    } else if (detail.state !== 'failed') {
      this.#setState(detail);
    } else if (this.#state.state !== 'connecting') {
      this.#onFailure(link, new MixError({ code: detail.code || 'TUNNEL_CLOSED', message: detail.reason }));
    } // A set-up that fails is told by its rejection, which knows more.
  }

  /** The tunnel is lost; the next `setup` starts anew. @param {WorkerLink} link @param {MixError} error */
  #onFailure(link, error) {
    if (link !== this.#link || this.#state.state === 'shutting_down') return;
    this.#setup = null;
    this.#link = null;
    link.terminate(new MixError({ ...error, code: 'TUNNEL_CLOSED', message: `the tunnel failed: ${error.message}` }));
    this.#setState({ state: 'failed', reason: error.message, code: error.code });
  }

  /** @param {TunnelState} state */
  #setState(state) {
    if (state.state === this.#state.state) return;
    this.#state = state;
    this.events.dispatchEvent(new CustomEvent('statechange', { detail: { ...state } }));
  }
}

/** What relative URLs are relative to: a page and a worker can have a tunnel. @returns {string} */
const baseUrl = () => globalThis.document?.baseURI ?? globalThis.location.href;

/** @param {TunnelLog} record */
function print({ level, layer, message }) {
  const line = `[smolmix] ${layer}: ${message}`;
  if (level === 'debug') console.debug(line);
  else if (level === 'info') console.info(line);
  else if (level === 'warning') console.warn(line);
  else console.error(line);
}

/** @param {MixTunnelOptions} options @returns {MixTunnelOptions} */
function checkOptions(options) {
  if (typeof options !== 'object' || options === null) throw new TypeError('options: an object is wanted');
  const { assets, cryptoProvider } = options;
  if (assets !== undefined && typeof assets !== 'string' && !(assets instanceof URL)) {
    throw new TypeError('assets: a URL is wanted');
  }
  if (cryptoProvider !== undefined && !PROVIDERS.includes(cryptoProvider)) {
    throw new TypeError(`cryptoProvider: '${cryptoProvider}' is not one of ${PROVIDERS.join(', ')}`);
  }
  return { ...options };
}

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

/**
 * @param {WorkerLink} link
 * @param {import('./protocol.js').FetchFields} fields
 * @param {ReadableStream<Uint8Array> | null} stream
 * @param {AbortSignal | null} signal
 * @returns {Promise<Response>}
 */
async function send(link, fields, stream, signal) {
  const answer = link.request('fetch', fields);
  const dropUpload = stream ? link.serveUpload(answer.id, stream) : () => {};
  const abort = () => link.abort(answer.id);
  signal?.addEventListener('abort', abort);
  try {
    const head = /** @type {ResponseHead} */ (await abortable(answer, signal));
    return makeResponse(link, answer.id, head, signal, () => dropUpload(undefined));
  } catch (error) {
    dropUpload(error);
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

/**
 * One tunnel: a worker, its life cycle, and the calls that go through it.
 *
 * @module
 */

/** @import {MixAddress, MixFetchInit, MixResolveOptions, MixSocketOptions, MixTunnelOptions} from './smolmix.js' */
/** @import {TunnelEvents, TunnelInfo, TunnelLog, TunnelStats, TunnelState} from './smolmix.js' */
/** @import {MixTunnel as MixTunnelType} from './smolmix.js' */
/** @import {Claim} from './claim.js' */
/** @import {Feature} from './features.js' */
/** @import {EventName, FetchFields} from './protocol.js' */
/** @import {ResponseHead} from './response.js' */

import { abortable, abortableRequest } from './abortable.js';
import { claimClientId } from './claim.js';
import { MixClient } from './client.js';
import { MixError, fetchError } from './errors.js';
import { FEATURES, requireFeature } from './features.js';
import { readIntact } from './integrity.js';
import { WorkerLink } from './link.js';
import { checkOptions, makeWorker, parseAssets } from './options.js';
import { PROTOCOL_VERSION } from './protocol.js';
import { prepareRequest } from './request.js';
import { prepareResolve } from './resolve.js';
import { makeResponse, withBody } from './response.js';
import { MixWebSocket } from './websocket.js';

/** As in smolmix_web/options.py. */
const DEFAULT_CLIENT_ID = 'smolmix-wasm';

/** @implements {MixTunnelType} */
export class MixTunnel {
  /** `statechange`, `progress`, `stats` and `log`, each a `CustomEvent` with its particulars in `detail`. */
  events = /** @type {TunnelEvents} */ (new EventTarget());

  /** Raw messages over this tunnel's gateway. */
  client = new MixClient(() => this.ready());

  #options;
  /** @type {WorkerLink | null} */
  #link = null;
  /** The client id, from before the worker starts until it has ended. @type {Claim | null} */
  #claim = null;
  #released = Promise.resolve();
  /** @type {Promise<void> | null} */
  #setup = null;
  /** @type {Promise<void> | null} */
  #disconnecting = null;
  /** Counts calls of `setup` and `disconnect`, so that one which had to wait knows that it is still wanted. */
  #turn = 0;
  /** Whether Python runs in the worker. */
  #booted = false;
  /** Of the page's modules, and once it has started, of the worker's files. @type {readonly Feature[]} */
  #features = FEATURES;
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
    // One that is under way serves as well, unless a set-up was asked for since.
    if (!this.#disconnecting || this.#setup) {
      const stopping = this.#stop(this.#disconnecting).finally(() => {
        if (this.#disconnecting === stopping) this.#disconnecting = null;
      });
      this.#disconnecting = stopping;
    }
    return this.#disconnecting;
  }

  /** @returns {Promise<TunnelState>} */
  async getState() {
    return { ...this.#state };
  }

  /** @returns {Promise<TunnelInfo>} */
  async getInfo() {
    return { ...(await (await this.ready()).request('info', {})), features: [...this.#features] };
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
  async mixFetch(input, init) {
    try {
      // Before a body is taken.
      requireFeature(this.#features, 'fetch');
    } catch (error) {
      throw fetchError(error);
    }
    const { fields, body, signal, integrity } = await prepareRequest(input, init ?? {});
    try {
      signal?.throwIfAborted();
      const link = await abortable(this.ready('fetch'), signal);
      const response = await send(link, fields, body, signal);
      return integrity ? withBody(response, await readIntact(response, integrity)) : response;
    } catch (error) {
      body?.cancel(error).catch(() => {});
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
  async mixResolve(host, options) {
    const { fields, signal } = prepareResolve(host, options ?? {});
    signal?.throwIfAborted();
    const link = await abortable(this.ready('dns'), signal);
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

  /**
   * Internal.
   *
   * @param {Feature} [feature] what it is wanted for
   * @returns {Promise<WorkerLink>} the link of a tunnel that is ready
   */
  async ready(feature) {
    if (feature) requireFeature(this.#features, feature);
    if (this.#setup) await this.#setup;
    if (feature) requireFeature(this.#features, feature);
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
    this.#turn += 1;
    const turn = this.#turn;
    // A tunnel that is on its way out keeps its gateway session until it is gone.
    if (this.#disconnecting) await this.#disconnecting;
    this.#checkTurn(turn);
    this.#setState({ state: 'connecting', reason: 'starting the worker' });
    const { assets, assetsIntegrity, cryptoProvider, clientId, ...options } = this.#options;
    /** @type {WorkerLink | null} */
    let link = null;
    try {
      await this.#release();
      const claim = await claimClientId(clientId ?? DEFAULT_CLIENT_ID);
      if (turn !== this.#turn) await claim.release();
      this.#checkTurn(turn);
      this.#claim = claim;
      link = this.#startWorker();
      const booted = await link.request('boot', {
        version: PROTOCOL_VERSION,
        assets: parseAssets(assets),
        integrity: assetsIntegrity ?? null,
        provider: cryptoProvider ?? 'auto',
        network: options.network ?? null,
      });
      this.#booted = true;
      this.#features = FEATURES.filter((feature) => booted.features.includes(feature));
      await link.request('setup', { options: { ...options, clientId: claim.clientId } });
      if (link === this.#link) this.client.attach(link);
    } catch (error) {
      if (turn === this.#turn) this.#onFailure(link, /** @type {MixError} */ (error));
      throw error;
    }
  }

  /** @returns {WorkerLink} */
  #startWorker() {
    /** @type {Worker} */
    let worker;
    try {
      worker = makeWorker(this.#options.assets);
    } catch (error) {
      // A policy forbids it, or the files are of another origin than the page.
      throw new MixError({ code: 'WORKER', message: `the tunnel's worker could not be started: ${error}` });
    }
    const link = new WorkerLink(
      worker,
      parseAssets(this.#options.assets),
      (event, detail) => this.#onEvent(link, event, detail),
      (error) => this.#onFailure(link, error),
    );
    this.#booted = false;
    this.#link = link;
    return link;
  }

  /** @param {number} turn */
  #checkTurn(turn) {
    if (turn !== this.#turn) {
      throw new MixError({ code: 'ABORTED', message: 'the tunnel was disconnected during set-up', retriable: true });
    }
  }

  /** @param {Promise<void> | null} before an earlier one that is under way */
  async #stop(before) {
    this.#turn += 1;
    this.#setup?.catch(() => {});
    this.#setup = null;
    if (before) await before;
    const { state } = this.#state;
    if (!this.#link && state !== 'connecting') return;
    this.#setState({ state: 'shutting_down', reason: 'disconnect was called' });
    const link = this.#link;
    // Before there is Python, nobody could answer, and there is nothing to close.
    if (link && this.#booted) {
      try {
        await link.request('disconnect', {});
      } catch {
        // It failed before; there is nothing left to close in order.
      }
    }
    if (this.#link === link) this.#dropLink('the tunnel was disconnected');
    await this.#release();
    this.#setState({ state: 'shutdown', reason: 'disconnected' });
  }

  /** Lets the next tunnel have the client id. @returns {Promise<void>} */
  #release() {
    if (this.#claim) this.#released = this.#claim.release();
    this.#claim = null;
    return this.#released;
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

  /** The tunnel is lost; the next `setup` starts anew. @param {WorkerLink | null} link @param {MixError} error */
  #onFailure(link, error) {
    if (link !== this.#link || this.#state.state === 'shutting_down') return;
    this.#setup = null;
    this.#link = null;
    link?.terminate(new MixError({ ...error, code: 'TUNNEL_CLOSED', message: `the tunnel failed: ${error.message}` }));
    this.#release();
    this.#setState({ state: 'failed', reason: error.message, code: error.code });
  }

  /** @param {TunnelState} state */
  #setState(state) {
    if (state.state === this.#state.state) return;
    this.#state = state;
    this.events.dispatchEvent(new CustomEvent('statechange', { detail: { ...state } }));
  }
}

/** @param {TunnelLog} record */
function print({ level, layer, message }) {
  const line = `[smolmix] ${layer}: ${message}`;
  if (level === 'debug') console.debug(line);
  else if (level === 'info') console.info(line);
  else if (level === 'warning') console.warn(line);
  else console.error(line);
}

/**
 * @param {WorkerLink} link
 * @param {FetchFields} fields
 * @param {ReadableStreamDefaultReader<unknown> | null} body
 * @param {AbortSignal | null} signal
 * @returns {Promise<Response>}
 */
async function send(link, fields, body, signal) {
  const answer = link.request('fetch', fields);
  const dropUpload = body ? link.serveUpload(answer.id, body) : () => {};
  const abort = () => link.abort(answer.id);
  signal?.addEventListener('abort', abort);
  try {
    const head = /** @type {ResponseHead} */ (await abortable(answer, signal));
    // It may have fired since, within this very turn of the event loop.
    signal?.throwIfAborted();
    return makeResponse(link, answer.id, head, signal, () => dropUpload(undefined));
  } catch (error) {
    abort();
    dropUpload(error);
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

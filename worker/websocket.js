/**
 * `MixWebSocket`: the browser's WebSocket, as far as its rules hold with promises.
 *
 * Differences: `send` and `close` return promises; `opened()` tells when it is usable; binary messages are always
 * ArrayBuffers; there is no `bufferedAmount`. One received message at a time crosses from the worker, so that a
 * page which is busy slows the server down instead of filling its memory.
 *
 * @module
 */

/** @import {Failure} from './protocol.js' */
/** @import {WorkerLink} from './link.js' */
/** @import {SocketFields} from './protocol.js' */
/** @import {MixSocketOptions, MixWebSocket as MixWebSocketType} from './smolmix.js' */

import { MixError } from './errors.js';
import { parseCount, parseLimits } from './request.js';

/** Gives the link of a tunnel that is ready. @typedef {() => Promise<WorkerLink>} Ready */

/**
 * Result of a `socketReceive` message.
 *
 * @typedef {{text: string} | {data: ArrayBuffer} | {closed: Closed}} Received
 */
/** @typedef {{code: number, reason: string, wasClean: boolean, error: Failure | null}} Closed */

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const LONGEST_REASON = 123;
const ABNORMAL = { code: 1006, reason: '', wasClean: false };

/** The tunnel of sockets that are made with `new`. @type {{ready: Ready | null}} */
export const shared = { ready: null };

/** @implements {MixWebSocketType} */
export class MixWebSocket extends EventTarget {
  static CONNECTING = /** @type {const} */ (0);
  static OPEN = /** @type {const} */ (1);
  static CLOSING = /** @type {const} */ (2);
  static CLOSED = /** @type {const} */ (3);
  CONNECTING = MixWebSocket.CONNECTING;
  OPEN = MixWebSocket.OPEN;
  CLOSING = MixWebSocket.CLOSING;
  CLOSED = MixWebSocket.CLOSED;

  #url;
  #protocol = '';
  #extensions = '';
  /** @type {0 | 1 | 2 | 3} */
  #readyState = MixWebSocket.CONNECTING;
  /** @type {WorkerLink | null} */
  #link = null;
  /** Id of the request that opened it. */
  #id = 0;
  /** Sends wait for each other: a Blob takes longer to read than a text that comes after it. */
  #lastSend = Promise.resolve();
  /** @type {Promise<void>} */
  #opened;
  /** @type {{resolve: () => void, promise: Promise<void>}} */
  #over;
  /** Resolved by a close() before anything was sent. */
  #unwanted = deferred();
  /** @type {Map<string, {handler: any, listener: (event: Event) => void}>} */
  #handlers = new Map();

  /**
   * @param {string | URL} url
   * @param {string | string[]} [protocols]
   * @param {MixSocketOptions} [options]
   */
  constructor(url, protocols = [], options = {}) {
    super();
    options ??= {};
    this.#url = parseUrl(url);
    const fields = {
      url: this.#url,
      protocols: parseProtocols(protocols),
      headers: [...new Headers(options.headers)],
      timeouts: parseLimits(options.timeouts),
      pingInterval: parseCount('pingInterval', options.pingInterval, 1, 2 ** 32 - 1),
      maxMessageSize: parseCount('maxMessageSize', options.maxMessageSize, 1, 2 ** 32 - 1),
    };
    const given = /** @type {unknown} */ (options.tunnel ?? undefined);
    const tunnel = /** @type {{ready: (feature: 'socket') => Promise<WorkerLink>} | undefined} */ (given);
    if (tunnel !== undefined && typeof tunnel.ready !== 'function') {
      throw new TypeError('tunnel: a MixTunnel is wanted');
    }
    this.#over = deferred();
    this.#opened = this.#open(tunnel ? () => tunnel.ready('socket') : shared.ready, fields);
    // Whoever does not ask for it learns of the failure by the events.
    this.#opened.catch(() => {});
  }

  get url() {
    return this.#url;
  }

  get readyState() {
    return this.#readyState;
  }

  get protocol() {
    return this.#protocol;
  }

  get extensions() {
    return this.#extensions;
  }

  /** @returns {'arraybuffer'} */
  get binaryType() {
    return 'arraybuffer';
  }

  set binaryType(type) {
    if (type !== 'arraybuffer') {
      throw new DOMException("binaryType: only 'arraybuffer' is supported", 'NotSupportedError');
    }
  }

  get onopen() {
    return this.#handlers.get('open')?.handler ?? null;
  }

  set onopen(handler) {
    this.#setHandler('open', handler);
  }

  get onmessage() {
    return this.#handlers.get('message')?.handler ?? null;
  }

  set onmessage(handler) {
    this.#setHandler('message', handler);
  }

  get onerror() {
    return this.#handlers.get('error')?.handler ?? null;
  }

  set onerror(handler) {
    this.#setHandler('error', handler);
  }

  get onclose() {
    return this.#handlers.get('close')?.handler ?? null;
  }

  set onclose(handler) {
    this.#setHandler('close', handler);
  }

  /** Resolves when the socket is open; rejects when it cannot be opened. @returns {Promise<void>} */
  opened() {
    return this.#opened;
  }

  /**
   * @param {string | ArrayBuffer | ArrayBufferView | Blob} data
   * @returns {Promise<void>} resolves when the message has left the queue for the connection
   */
  send(data) {
    const sent = this.#queue(data);
    // What a browser throws is an error of the page. That the connection ended is told by its events as well, so
    // that nobody has to wait for this.
    if (this.#readyState !== MixWebSocket.CONNECTING) sent.catch(() => {});
    return sent;
  }

  /** @param {string | ArrayBuffer | ArrayBufferView | Blob} data */
  async #queue(data) {
    if (this.#readyState !== MixWebSocket.OPEN) {
      throw new DOMException(`send: the socket is ${STATE_NAMES[this.#readyState]}`, 'InvalidStateError');
    }
    // Copied at once: what the page does with its buffer afterwards is not sent.
    const content = Promise.resolve(convert(data));
    // A Blob that cannot be read fails below, once it is its turn.
    content.catch(() => {});
    const sent = this.#lastSend.then(async () => {
      const payload = await content;
      await this.#link?.request('socketSend', {
        target: this.#id,
        text: typeof payload === 'string' ? payload : null,
        data: typeof payload === 'string' ? null : payload,
      });
    });
    this.#lastSend = sent.catch(() => {});
    return sent;
  }

  /**
   * @param {number} [code] 1000 or 3000 to 4999; without one, none is sent
   * @param {string} [reason] at most 123 bytes
   * @returns {Promise<void>} resolves when the connection is closed
   */
  async close(code, reason = '') {
    const sent = code === undefined ? null : clamp(code);
    if (sent !== null && sent !== 1000 && !(sent >= 3000 && sent <= 4999)) {
      throw new DOMException(`close: code ${code} is not 1000 or from 3000 to 4999`, 'InvalidAccessError');
    }
    reason = String(reason).toWellFormed();
    if (new TextEncoder().encode(reason).length > LONGEST_REASON) {
      throw new DOMException(`close: the reason has more than ${LONGEST_REASON} bytes`, 'SyntaxError');
    }
    if (this.#readyState === MixWebSocket.CONNECTING) {
      this.#readyState = MixWebSocket.CLOSING;
      if (this.#id) this.#link?.abort(this.#id);
      else this.#unwanted.resolve();
    } else if (this.#readyState === MixWebSocket.OPEN) {
      this.#readyState = MixWebSocket.CLOSING;
      await this.#lastSend;
      // What goes wrong here ends the connection, and so this wait.
      this.#link?.request('socketClose', { target: this.#id, code: sent, reason }).catch(() => {});
    }
    await this.#over.promise;
  }

  /** @param {Ready | null} ready @param {SocketFields} fields */
  async #open(ready, fields) {
    try {
      if (!ready) throw new MixError({ code: 'TUNNEL_NOT_READY', message: 'no tunnel was set up', retriable: true });
      // The tunnel may still be set up, which close() need not wait for.
      const link = await Promise.race([ready(), this.#unwanted.promise]);
      this.#checkNotClosed();
      this.#link = /** @type {WorkerLink} */ (link);
      const answer = this.#link.request('socketOpen', fields);
      this.#id = answer.id;
      const { protocol, extensions } = await answer;
      if (this.#readyState !== MixWebSocket.CONNECTING) {
        this.#link.abort(this.#id);
        this.#checkNotClosed();
      }
      this.#protocol = protocol;
      this.#extensions = extensions;
    } catch (error) {
      // As a task of its own: the page may not yet have had the chance to listen.
      await new Promise((resolve) => setTimeout(resolve));
      this.#end({ ...ABNORMAL, error: true });
      throw error;
    }
    this.#readyState = MixWebSocket.OPEN;
    this.dispatchEvent(new Event('open'));
    this.#receive(this.#link);
  }

  #checkNotClosed() {
    if (this.#readyState !== MixWebSocket.CONNECTING) {
      throw new MixError({ code: 'ABORTED', message: 'the socket was closed before it was open' });
    }
  }

  /** @param {WorkerLink} link */
  async #receive(link) {
    for (;;) {
      /** @type {Received} */
      let received;
      try {
        received = await link.request('socketReceive', { target: this.#id });
      } catch {
        this.#end({ ...ABNORMAL, error: true });
        return;
      }
      if ('closed' in received) {
        // As in browsers, a connection that just ends is no error; one that had to be ended is.
        this.#end({ ...received.closed, error: received.closed.error !== null });
        return;
      }
      // After close() the page hears no more, as in browsers; reading on lets the server's Close arrive.
      if (this.#readyState !== MixWebSocket.OPEN) continue;
      const data = 'text' in received ? received.text : received.data;
      this.dispatchEvent(new MessageEvent('message', { data, origin: new URL(this.#url).origin }));
    }
  }

  /** @param {{code: number, reason: string, wasClean: boolean, error: boolean}} how */
  #end({ code, reason, wasClean, error }) {
    this.#readyState = MixWebSocket.CLOSED;
    if (error) this.dispatchEvent(new Event('error'));
    this.dispatchEvent(new CloseEvent('close', { code, reason, wasClean }));
    this.#over.resolve();
  }

  /** @param {string} type @param {unknown} handler */
  #setHandler(type, handler) {
    const known = this.#handlers.get(type);
    if (typeof handler !== 'function') {
      if (known) this.removeEventListener(type, known.listener);
      this.#handlers.delete(type);
    } else if (known) {
      known.handler = handler; // in the place of the old one among the listeners
    } else {
      const made = { handler, listener: (/** @type {Event} */ event) => made.handler.call(this, event) };
      this.#handlers.set(type, made);
      this.addEventListener(type, made.listener);
    }
  }
}

const STATE_NAMES = ['connecting', 'open', 'closing', 'closed'];

/** To an unsigned short, as Web IDL's `[Clamp]` does. @param {unknown} code */
function clamp(code) {
  const number = Number(code);
  return Number.isNaN(number) ? 0 : Math.min(Math.max(Math.round(number), 0), 65535);
}

/** @returns {{resolve: () => void, promise: Promise<void>}} */
function deferred() {
  /** @type {() => void} */
  let resolve = () => {};
  const promise = new Promise((/** @type {(value: void) => void} */ settle) => {
    resolve = settle;
  });
  return { resolve, promise };
}

/** @param {string | URL} text */
function parseUrl(text) {
  /** @type {URL} */
  let url;
  try {
    url = new URL(text, globalThis.document?.baseURI ?? globalThis.location?.href);
  } catch {
    throw new DOMException(`url: '${text}' is not a URL`, 'SyntaxError');
  }
  if (url.protocol === 'http:') url.protocol = 'ws:';
  if (url.protocol === 'https:') url.protocol = 'wss:';
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') {
    throw new DOMException(`url: the scheme '${url.protocol.slice(0, -1)}' is not ws or wss`, 'SyntaxError');
  }
  if (url.hash || url.href.endsWith('#')) throw new DOMException('url: a fragment is not allowed', 'SyntaxError');
  return url.href;
}

/** @param {string | string[]} given */
function parseProtocols(given) {
  const protocols = typeof given === 'object' && given !== null ? [...given].map(String) : [String(given)];
  for (const protocol of protocols) {
    if (!TOKEN.test(protocol)) {
      throw new DOMException(`protocols: '${protocol}' is not a subprotocol name`, 'SyntaxError');
    }
  }
  if (new Set(protocols.map((protocol) => protocol.toLowerCase())).size !== protocols.length) {
    throw new DOMException('protocols: one is named twice', 'SyntaxError');
  }
  return protocols;
}

/** @param {string | ArrayBuffer | ArrayBufferView | Blob} data @returns {string | ArrayBuffer | Promise<ArrayBuffer>} */
function convert(data) {
  if (data instanceof Blob) return data.arrayBuffer();
  if (data instanceof ArrayBuffer) return data.slice(0);
  if (ArrayBuffer.isView(data)) {
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice().buffer;
  }
  return String(data).toWellFormed();
}

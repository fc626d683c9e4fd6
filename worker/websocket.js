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
import { parseLimits } from './request.js';

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
  /** @type {Map<string, {handler: any, listener: (event: Event) => void}>} */
  #handlers = new Map();

  /**
   * @param {string | URL} url
   * @param {string | string[]} [protocols]
   * @param {MixSocketOptions} [options]
   */
  constructor(url, protocols = [], options = {}) {
    super();
    this.#url = parseUrl(url);
    const fields = {
      url: this.#url,
      protocols: parseProtocols(protocols),
      headers: [...new Headers(options.headers)],
      timeouts: parseLimits(options.timeouts),
      pingInterval: options.pingInterval ?? null,
      maxMessageSize: options.maxMessageSize ?? null,
    };
    const tunnel = /** @type {{ready: Ready} | undefined} */ (/** @type {unknown} */ (options.tunnel));
    this.#over = deferred();
    this.#opened = this.#open(tunnel ? () => tunnel.ready() : shared.ready, fields);
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
  async send(data) {
    if (this.#readyState !== MixWebSocket.OPEN) {
      throw new DOMException(`send: the socket is ${STATE_NAMES[this.#readyState]}`, 'InvalidStateError');
    }
    // Copied at once: what the page does with its buffer afterwards is not sent.
    const content = convert(data);
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
      // Without an id yet, #open notices the state when the tunnel is ready.
      if (this.#id) this.#link?.abort(this.#id);
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
      this.#link = await ready();
      this.#checkNotClosed();
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
      // Not at once: the page has not yet had the chance to listen.
      await Promise.resolve();
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
    const old = this.#handlers.get(type);
    if (old) this.removeEventListener(type, old.listener);
    this.#handlers.delete(type);
    if (typeof handler !== 'function') return;
    const listener = (/** @type {Event} */ event) => handler.call(this, event);
    this.#handlers.set(type, { handler, listener });
    this.addEventListener(type, listener);
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
  const protocols = typeof given === 'string' ? [given] : [...given];
  for (const protocol of protocols) {
    if (typeof protocol !== 'string' || !TOKEN.test(protocol)) {
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

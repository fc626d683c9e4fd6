/**
 * Raw messages between Nym addresses, beside the tunnel and over its gateway: no exit takes part in them.
 *
 * Messages wait in the worker (up to 1,024 of them, 16 MiB together; later ones are dropped) until somebody
 * listens. From then on they cross one at a time, so that a page which is busy does not fill its memory.
 *
 * @module
 */

/** @import {WorkerLink} from './link.js' */
/** @import {MixReplyOptions, MixSendAnonymousOptions, MixSendOptions} from './smolmix.js' */
/** @import {MixClient as MixClientType, MixMessageEvent as MixMessageEventType} from './smolmix.js' */

import { abortable, abortableRequest } from './abortable.js';
import { parseCount } from './request.js';

/** Result of a `mixReceive` message. @typedef {{data: ArrayBuffer, senderTag: string | null, sender: string | null}} Received */

const DEFAULT_REPLY_SURBS = 10;
const MOST_REPLY_SURBS = 500;

/**
 * @extends {MessageEvent<ArrayBuffer>}
 * @implements {MixMessageEventType}
 */
export class MixMessageEvent extends MessageEvent {
  /** @param {Received} received */
  constructor({ data, senderTag, sender }) {
    super('message', { data });
    this.senderTag = senderTag;
    this.sender = sender;
  }
}

/** @implements {MixClientType} */
export class MixClient extends EventTarget {
  /** @type {() => Promise<WorkerLink>} */
  #ready;
  #listening = false;
  /** The tunnel's link while it is up. @type {WorkerLink | null} */
  #link = null;
  /** The link whose messages are being received. @type {WorkerLink | null} */
  #receiving = null;
  /** @type {{handler: any, listener: (event: Event) => void} | null} */
  #onmessage = null;

  /** Made by tunnels. @param {() => Promise<WorkerLink>} ready gives the link of a tunnel that is ready */
  constructor(ready) {
    super();
    this.#ready = ready;
  }

  /** Our Nym address. It changes with the gateway. @returns {Promise<string>} */
  async selfAddress() {
    return (await (await this.#ready()).request('info', {})).address;
  }

  /**
   * Sends a plain message.
   *
   * @param {string} recipient
   * @param {string | ArrayBuffer | ArrayBufferView | Blob} data
   * @param {MixSendOptions} [options]
   * @returns {Promise<void>} resolves when the message is queued; nothing tells of its arrival
   */
  async send(recipient, data, { signal = null } = {}) {
    await this.#send(recipient, data, null, signal);
  }

  /**
   * Sends a message that can be answered, but does not say by whom it is.
   *
   * @param {string} recipient
   * @param {string | ArrayBuffer | ArrayBufferView | Blob} data
   * @param {MixSendAnonymousOptions} [options]
   * @returns {Promise<void>}
   */
  async sendAnonymous(recipient, data, { replySurbs, signal = null } = {}) {
    const surbs = parseCount('replySurbs', replySurbs, 0, MOST_REPLY_SURBS) ?? DEFAULT_REPLY_SURBS;
    await this.#send(recipient, data, surbs, signal);
  }

  /**
   * Answers whoever sent the message with `senderTag`.
   *
   * @param {string} senderTag
   * @param {string | ArrayBuffer | ArrayBufferView | Blob} data
   * @param {MixReplyOptions} [options]
   * @returns {Promise<void>}
   */
  async reply(senderTag, data, { signal = null } = {}) {
    checkText('senderTag', senderTag);
    const [link, bytes] = await this.#prepare(data, signal);
    await abortableRequest(link, 'mixReply', { senderTag, data: bytes }, signal);
  }

  get onmessage() {
    return this.#onmessage?.handler ?? null;
  }

  set onmessage(handler) {
    if (this.#onmessage) this.removeEventListener('message', this.#onmessage.listener);
    this.#onmessage = null;
    if (typeof handler !== 'function') return;
    const listener = (/** @type {Event} */ event) => handler.call(this, event);
    this.#onmessage = { handler, listener };
    this.addEventListener('message', listener);
  }

  /**
   * The first listener for `message` gets what has waited for it.
   *
   * @param {string} type
   * @param {EventListenerOrEventListenerObject | null} listener
   * @param {boolean | AddEventListenerOptions} [options]
   */
  addEventListener(type, listener, options) {
    super.addEventListener(type, listener, options);
    if (type !== 'message' || !listener) return;
    this.#listening = true;
    this.#receive();
  }

  /** Internal: the tunnel is up. @param {WorkerLink} link */
  attach(link) {
    this.#link = link;
    this.#receive();
  }

  async #receive() {
    const link = this.#link;
    if (!link || !this.#listening || this.#receiving === link) return;
    this.#receiving = link;
    while (this.#link === link) {
      /** @type {Received} */
      let received;
      try {
        received = await link.request('mixReceive', {});
      } catch {
        // The tunnel is closed; its states and errors tell why.
        if (this.#link === link) this.#link = null;
        break;
      }
      this.dispatchEvent(new MixMessageEvent(received));
    }
    if (this.#receiving === link) this.#receiving = null;
  }

  /**
   * @param {string} recipient
   * @param {string | ArrayBuffer | ArrayBufferView | Blob} data
   * @param {number | null} replySurbs null: a plain message
   * @param {AbortSignal | null} signal
   */
  async #send(recipient, data, replySurbs, signal) {
    checkText('recipient', recipient);
    const [link, bytes] = await this.#prepare(data, signal);
    await abortableRequest(link, 'mixSend', { recipient, data: bytes, replySurbs }, signal);
  }

  /**
   * @param {string | ArrayBuffer | ArrayBufferView | Blob} data
   * @param {AbortSignal | null} signal
   * @returns {Promise<[WorkerLink, ArrayBuffer]>}
   */
  async #prepare(data, signal) {
    // Copied at once: what the page does with its buffer afterwards is not sent.
    const bytes = copy(data);
    signal?.throwIfAborted();
    return abortable(Promise.all([this.#ready(), bytes]), signal);
  }
}

/** @param {string} name @param {unknown} value */
function checkText(name, value) {
  if (typeof value !== 'string' || value === '') throw new TypeError(`${name}: a text is wanted`);
}

/** @param {string | ArrayBuffer | ArrayBufferView | Blob} data @returns {ArrayBuffer | Promise<ArrayBuffer>} */
function copy(data) {
  if (typeof data === 'string') return new TextEncoder().encode(data).slice().buffer;
  if (data instanceof Blob) return data.arrayBuffer();
  if (data instanceof ArrayBuffer) return data.slice(0);
  if (ArrayBuffer.isView(data)) {
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice().buffer;
  }
  throw new TypeError('data: a string, an ArrayBuffer, a view of one or a Blob is wanted');
}

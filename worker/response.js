/**
 * A real `Response` over a body that stays in the worker until it is read.
 *
 * @module
 */

/** @import {WorkerLink} from './link.js' */
/** @import {MixTimings} from './smolmix.js' */

import { fetchError } from './errors.js';

/**
 * Value of the result of a `fetch` message. Without `body` there is nothing to pull.
 *
 * @typedef {object} ResponseHead
 * @property {number} status
 * @property {string} statusText
 * @property {[string, string][]} headers
 * @property {string} url
 * @property {boolean} redirected
 * @property {boolean} body
 * @property {MixTimings} timings
 */

/** Largest part asked for at once. One part travels while another is being read. */
const CHUNK_BYTES = 256 * 1024;

// A page that drops a response without reading it must not hold the connection for ever.
const forgotten = new FinalizationRegistry((/** @type {() => void} */ release) => release());

/**
 * @param {WorkerLink} link
 * @param {number} id id of the fetch
 * @param {ResponseHead} head
 * @param {AbortSignal | null} signal
 * @param {() => void} done called once, when the body has ended in whatever way
 * @returns {Response}
 */
export function makeResponse(link, id, head, signal, done) {
  const body = head.body ? makeBody(link, id, signal, done) : null;
  if (!body) done();
  return shape(body, head);
}

/** What responses of `mixFetch` were made of; their copies have none. @type {WeakMap<Response, ResponseHead>} */
const heads = new WeakMap();

/**
 * The same response with another body, of which it was read.
 *
 * @param {Response} response of `makeResponse`
 * @param {ArrayBuffer} body
 * @returns {Response}
 */
export function withBody(response, body) {
  const head = /** @type {ResponseHead} */ (heads.get(response));
  return shape(head.body ? body : null, head);
}

/**
 * Where the time went until the head of a response was there.
 *
 * @param {Response} response of `mixFetch`, not a clone
 * @returns {MixTimings | null} null for any other response
 */
export function responseTimings(response) {
  const head = heads.get(response);
  return head ? { ...head.timings } : null;
}

/**
 * @param {WorkerLink} link
 * @param {number} id
 * @param {AbortSignal | null} signal
 * @param {() => void} done
 * @returns {ReadableStream<Uint8Array<ArrayBuffer>>}
 */
function makeBody(link, id, signal, done) {
  const state = { ended: false };
  const finish = () => {
    if (state.ended) return;
    state.ended = true;
    signal?.removeEventListener('abort', onAbort);
    done();
  };
  // What outlives the source (the signal, the registry) must not hold it, or it could never be collected.
  /** @type {WeakRef<ReadableByteStreamController>} */
  let controller;
  const onAbort = () => {
    if (state.ended) return;
    finish();
    link.abort(id);
    controller.deref()?.error(signal?.reason);
  };
  /** @type {UnderlyingByteSource} */
  const source = {
    type: 'bytes',
    start(given) {
      controller = new WeakRef(given);
      signal?.addEventListener('abort', onAbort);
    },
    async pull(given) {
      /** @type {{data: ArrayBuffer | null}} */
      let part;
      try {
        part = await link.request('pull', { target: id, maxBytes: CHUNK_BYTES });
      } catch (error) {
        if (!state.ended) {
          finish();
          given.error(fetchError(error));
        }
        return;
      }
      if (state.ended) return;
      if (part.data) {
        given.enqueue(new Uint8Array(part.data));
      } else {
        finish();
        given.close();
        given.byobRequest?.respond(0);
      }
    },
    cancel() {
      if (state.ended) return;
      finish();
      link.abort(id);
    },
  };
  // The source lives as long as anybody can read. (Not so the stream object: while `response.text()` reads, the
  // browser may collect it and go on with what is behind it.)
  forgotten.register(source, () => {
    if (state.ended) return;
    finish();
    link.abort(id);
  });
  return new ReadableStream(source, { highWaterMark: CHUNK_BYTES });
}

/**
 * `Response` with the parts that its constructor does not take (`url`, `redirected`) or filters out (a status
 * below 200, `set-cookie`). Copies made with `clone()` keep them.
 *
 * @param {BodyInit | null} body
 * @param {ResponseHead} head
 * @returns {Response}
 */
function shape(body, head) {
  const odd = head.status < 200 || head.status > 599;
  const response = new Response(body, {
    status: odd ? 200 : head.status,
    statusText: head.statusText,
    headers: head.headers.filter(([name]) => name !== 'set-cookie'),
  });
  /** @type {Record<string, unknown>} */
  const extra = { url: head.url, redirected: head.redirected };
  if (odd) Object.assign(extra, { status: head.status, ok: false });
  heads.set(response, head);
  const withCookies = head.headers.some(([name]) => name === 'set-cookie');
  return decorate(response, extra, withCookies ? head.headers : null);
}

/**
 * @param {Response} response
 * @param {Record<string, unknown>} extra
 * @param {[string, string][] | null} headers of their own for each copy
 * @returns {Response}
 */
function decorate(response, extra, headers) {
  const clone = response.clone.bind(response);
  const own = { ...extra, clone: () => decorate(clone(), extra, headers && [...response.headers]) };
  if (headers) Object.assign(own, { headers: new Headers(headers) });
  for (const [name, value] of Object.entries(own)) {
    Object.defineProperty(response, name, { value, configurable: true });
  }
  return response;
}

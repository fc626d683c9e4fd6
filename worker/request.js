/**
 * From the arguments of `mixFetch` to the fields of a `fetch` message.
 *
 * @module
 */

/** @import {FetchFields} from './protocol.js' */
/** @import {MixFetchInit} from './smolmix.js' */

const REDIRECTS = ['follow', 'error', 'manual'];
const CREDENTIALS = ['omit', 'same-origin', 'include'];
const SCHEMES = ['http:', 'https:'];
/** They frame the message, which is the connection's business. Browsers leave them out in silence as well. */
const FRAMING = ['connection', 'content-length', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade'];

/**
 * @typedef {object} PreparedRequest
 * @property {FetchFields} fields
 * @property {ReadableStreamDefaultReader<unknown> | null} body where it is streamed
 * @property {AbortSignal | null} signal
 * @property {string} integrity empty: nothing is checked
 */

/**
 * Applies the rules of the Fetch standard to the arguments (`Request` and `Headers` objects of the page cannot
 * cross to the worker). Unlike `fetch`, hardly a header is forbidden: nobody stands between page and server here.
 *
 * @param {RequestInfo | URL} input
 * @param {MixFetchInit} init
 * @returns {Promise<PreparedRequest>}
 * @throws {TypeError} naming the argument that is not acceptable
 */
export async function prepareRequest(input, init) {
  if (typeof init !== 'object') throw new TypeError('init: an object is wanted');
  const request = input instanceof Request ? input : null;
  const url = parseUrl(request ? request.url : String(input));
  const method = parseMethod(String(init.method ?? request?.method ?? 'GET'));
  const headers = new Headers(init.headers ?? request?.headers);
  const redirect = init.redirect ?? request?.redirect ?? 'follow';
  if (!REDIRECTS.includes(redirect)) {
    throw new TypeError(`redirect: '${redirect}' is not one of ${REDIRECTS.join(', ')}`);
  }
  const maxRedirects = parseCount('maxRedirects', init.maxRedirects, 0, 255);
  const timeout = parseCount('timeout', init.timeout, 1, 2 ** 32 - 1);
  const timeouts = parseLimits(init.timeouts);
  const credentials = parseCredentials(init.credentials ?? request?.credentials ?? 'same-origin');
  const signal = parseSignal(init.signal !== undefined ? init.signal : (request?.signal ?? null));
  const own = init.body ?? null;
  if ((own ?? request?.body ?? null) !== null && (method === 'GET' || method === 'HEAD')) {
    throw new TypeError(`body: a ${method} request cannot have one`);
  }
  // A stream belongs to us from now on, not only after the next turn, as with `fetch`.
  const { body, reader, type } =
    own instanceof ReadableStream
      ? lockStream(own)
      : await (own === null && request ? takeBody(request) : extractBody(own));
  if (type && !headers.has('content-type')) headers.set('content-type', type);
  return {
    fields: {
      url,
      method,
      headers: [...headers].filter(([name]) => !FRAMING.includes(name)),
      body,
      redirect,
      maxRedirects,
      timeout,
      timeouts,
      credentials,
    },
    body: reader,
    signal,
    integrity: String(init.integrity ?? request?.integrity ?? ''),
  };
}

/** @param {unknown} signal @returns {AbortSignal | null} */
export function parseSignal(signal) {
  if (signal === undefined || signal === null) return null;
  if (!(signal instanceof AbortSignal)) throw new TypeError('signal: an AbortSignal is wanted');
  return signal;
}

/** @param {string} text */
function parseUrl(text) {
  /** @type {URL} */
  let url;
  try {
    url = new URL(text, globalThis.document?.baseURI ?? globalThis.location?.href);
  } catch {
    throw new TypeError(`url: '${text}' is not a URL`);
  }
  if (!SCHEMES.includes(url.protocol)) {
    throw new TypeError(`url: the scheme '${url.protocol.slice(0, -1)}' is not http or https`);
  }
  if (url.username || url.password) throw new TypeError('url: it must not contain credentials');
  url.hash = '';
  return url.href;
}

/** @param {string} method */
function parseMethod(method) {
  if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(method)) throw new TypeError(`method: '${method}' is not a token`);
  const upper = method.toUpperCase();
  if (['CONNECT', 'TRACE', 'TRACK'].includes(upper)) throw new TypeError(`method: '${method}' is not allowed`);
  // The Fetch standard normalizes these and leaves all others as they are.
  return ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'POST', 'PUT'].includes(upper) ? upper : method;
}

/** Whether the cookie jar is used: a tunnel has one for all sites. @param {string} credentials */
function parseCredentials(credentials) {
  if (!CREDENTIALS.includes(credentials)) {
    throw new TypeError(`credentials: '${credentials}' is not one of ${CREDENTIALS.join(', ')}`);
  }
  return credentials !== 'omit';
}

/**
 * Python knows the names and what is too little.
 *
 * @param {object | null | undefined} limits
 * @returns {Record<string, number | null | undefined> | null}
 */
export function parseLimits(limits) {
  if (limits === undefined || limits === null) return null;
  if (typeof limits !== 'object') throw new TypeError('timeouts: an object with milliseconds by phase is wanted');
  for (const [name, value] of Object.entries(limits)) {
    if (value !== undefined && value !== null && typeof value !== 'number') {
      throw new TypeError(`timeouts.${name}: a number of milliseconds is wanted, not '${String(value)}'`);
    }
  }
  return { ...limits };
}

/**
 * @param {string} name
 * @param {number | null | undefined} value
 * @param {number} low
 * @param {number} high
 * @returns {number | null}
 */
export function parseCount(name, value, low, high) {
  if (value === undefined || value === null) return null;
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new TypeError(`${name}: a whole number from ${low} to ${high} is wanted, not ${value}`);
  }
  return value;
}

/** The body of a `Request` is a stream whatever it was made of; up to this size it is sent as a whole. */
const WHOLE_BYTES = 1024 * 1024;
/** Milliseconds that a part of such a body may take; what is in memory or in a file is there sooner. */
const WHOLE_PATIENCE = 50;

/**
 * A whole body can be sent again (after a 307, or on a connection that went stale), and has a Content-Length; but what
 * comes slowly, or is large, must not be waited for.
 *
 * @param {Request} request
 * @returns {Promise<Extracted>}
 */
async function takeBody(request) {
  if (request.bodyUsed) throw new TypeError('body: that of the Request has been used already');
  if (!request.body) return extractBody(null);
  const reader = request.body.getReader();
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const parts = [];
  /** @type {Promise<ReadableStreamReadResult<Uint8Array<ArrayBuffer>>>} */
  let next;
  for (let size = 0; ; ) {
    next = reader.read();
    const part = await Promise.race([next, pause(WHOLE_PATIENCE)]);
    if (part?.done) return { body: await new Blob(parts).arrayBuffer(), reader: null, type: null };
    if (!part || (size += part.value.byteLength) > WHOLE_BYTES) break;
    parts.push(part.value);
  }
  const rest = new ReadableStream({
    async pull(controller) {
      const part = parts.shift();
      if (part) return controller.enqueue(part);
      const { done, value } = await next;
      if (done) return controller.close();
      next = reader.read();
      controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return { body: 'stream', reader: rest.getReader(), type: null };
}

/** @param {number} milliseconds @returns {Promise<undefined>} */
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * A request's body, and the content type that belongs to its kind.
 *
 * @typedef {object} Extracted
 * @property {ArrayBuffer | 'stream' | null} body
 * @property {ReadableStreamDefaultReader<unknown> | null} reader of a stream
 * @property {string | null} type
 */

/** @param {ReadableStream} stream @returns {Extracted} */
function lockStream(stream) {
  if (stream.locked) throw new TypeError('body: the stream is locked');
  return { body: 'stream', reader: stream.getReader(), type: null };
}

/**
 * A body of known content is read here: it is in memory already, or a Blob. `Response` knows how.
 *
 * @param {BodyInit | null} given
 * @returns {Promise<Extracted>}
 */
async function extractBody(given) {
  if (given === null) return { body: null, reader: null, type: null };
  const converted = new Response(given);
  return { body: await converted.arrayBuffer(), reader: null, type: converted.headers.get('content-type') };
}

/**
 * From the arguments of `mixFetch` to the fields of a `fetch` message.
 *
 * @module
 */

/** @import {FetchFields} from './protocol.js' */
/** @import {MixFetchInit} from './smolmix.js' */

const REDIRECTS = ['follow', 'error', 'manual'];
const SCHEMES = ['http:', 'https:'];

/**
 * @typedef {object} PreparedRequest
 * @property {FetchFields} fields
 * @property {ReadableStream<Uint8Array> | null} stream the body, where it is streamed
 * @property {AbortSignal | null} signal
 */

/**
 * Applies the rules of the Fetch standard to the arguments (`Request` and `Headers` objects of the page cannot
 * cross to the worker). Unlike `fetch`, no header is forbidden: nobody stands between page and server here.
 *
 * @param {RequestInfo | URL} input
 * @param {MixFetchInit} init
 * @returns {Promise<PreparedRequest>}
 * @throws {TypeError} naming the argument that is not acceptable
 */
export async function prepareRequest(input, init) {
  const request = input instanceof Request ? input : null;
  const url = parseUrl(request ? request.url : String(input));
  const method = parseMethod(init.method ?? request?.method ?? 'GET');
  const headers = new Headers(init.headers ?? request?.headers);
  const redirect = init.redirect ?? request?.redirect ?? 'follow';
  if (!REDIRECTS.includes(redirect)) {
    throw new TypeError(`redirect: '${redirect}' is not one of ${REDIRECTS.join(', ')}`);
  }
  const given = init.body !== undefined ? init.body : (request?.body ?? null);
  if (given !== null && (method === 'GET' || method === 'HEAD')) {
    throw new TypeError(`body: a ${method} request cannot have one`);
  }
  const { body, stream, type } = await extractBody(given);
  if (type && !headers.has('content-type')) headers.set('content-type', type);
  const signal = init.signal !== undefined ? init.signal : (request?.signal ?? null);
  return {
    fields: {
      url,
      method,
      headers: [...headers],
      body,
      redirect,
      maxRedirects: parseCount('maxRedirects', init.maxRedirects, 0, 255),
      timeout: parseCount('timeout', init.timeout, 1, 2 ** 32 - 1),
    },
    stream,
    signal: signal ?? null,
  };
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

/** @param {string} name @param {number | null | undefined} value @param {number} low @param {number} high */
function parseCount(name, value, low, high) {
  if (value === undefined || value === null) return null;
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new TypeError(`${name}: a whole number from ${low} to ${high} is wanted, not ${value}`);
  }
  return value;
}

/**
 * A body of known content is read here (it is in memory already, or a Blob); only streams are streamed.
 * `Response` does the conversion, with the content type that belongs to each kind.
 *
 * @param {BodyInit | null} given
 * @returns {Promise<{body: ArrayBuffer | 'stream' | null, stream: ReadableStream<Uint8Array> | null, type: string | null}>}
 */
async function extractBody(given) {
  if (given === null) return { body: null, stream: null, type: null };
  if (given instanceof ReadableStream) {
    if (given.locked) throw new TypeError('body: the stream is locked');
    return { body: 'stream', stream: given, type: null };
  }
  const converted = new Response(given);
  return { body: await converted.arrayBuffer(), stream: null, type: converted.headers.get('content-type') };
}

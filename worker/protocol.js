/**
 * Every message between the page and the worker, and nothing else.
 *
 * The page numbers its requests; a request is answered by exactly one `result` or `failure` with the same `id`.
 * `upload` and `abort` are notices and have no answer. A `fetch` stays open under its id after its result while
 * its body is read with `pull`, a `socketOpen` until a `socketReceive` is answered with `closed`; `abort` ends
 * them (and any other request) at whatever point they are.
 * All times are milliseconds, all sizes bytes. `smolmix_web/bridge/messages.py` is the twin of this file.
 *
 * @module
 */

/** Raised whenever a kind or a field changes; page and worker files of two builds must not be mixed. */
export const PROTOCOL_VERSION = 2;

/**
 * Page to worker. `data` of an upload is null at the end of the body; `error` says that the page's stream broke.
 * `body` of a fetch is null, the whole body, or `'stream'`: then the worker asks for it with `demand`.
 * `mixSend` without `replySurbs` sends a plain message; `mixReceive` waits for the next message.
 *
 * @typedef {object} ToWorkerMap
 * @property {{id: number} & BootFields} boot
 * @property {{id: number, options: Record<string, unknown>}} setup
 * @property {{id: number}} disconnect
 * @property {{id: number}} info
 * @property {{id: number}} stats
 * @property {{id: number} & FetchFields} fetch
 * @property {{id: number, target: number, maxBytes: number}} pull
 * @property {{target: number, data: ArrayBuffer | null, error: string | null}} upload
 * @property {{id: number} & ResolveFields} resolve
 * @property {{id: number} & SocketFields} socketOpen
 * @property {{id: number, target: number}} socketReceive
 * @property {{id: number, target: number, text: string | null, data: ArrayBuffer | null}} socketSend
 * @property {{id: number, target: number, code: number | null, reason: string}} socketClose
 * @property {{id: number, recipient: string, data: ArrayBuffer, replySurbs: number | null}} mixSend
 * @property {{id: number, senderTag: string, data: ArrayBuffer}} mixReply
 * @property {{id: number}} mixReceive
 * @property {{target: number}} abort
 */

/**
 * @typedef {object} BootFields
 * @property {number} version PROTOCOL_VERSION
 * @property {string} assets URL of the folder with manifest.json
 * @property {string | null} [integrity] of the manifest
 * @property {ProviderChoice} provider
 * @property {string | null} [network] URL of the directory, which is asked while Python starts; null: Nym's
 */

/**
 * @typedef {object} FetchFields
 * @property {string} url
 * @property {string} method
 * @property {[string, string][]} headers
 * @property {ArrayBuffer | 'stream' | null} body
 * @property {'follow' | 'error' | 'manual'} redirect
 * @property {number | null} maxRedirects
 * @property {number | null} timeout
 * @property {Limits | null} timeouts
 * @property {boolean} credentials whether the cookie jar is used
 */

/**
 * @typedef {object} ResolveFields
 * @property {string} host
 * @property {0 | 4 | 6} family
 * @property {boolean} all
 * @property {number | null} timeout
 */

/**
 * @typedef {object} SocketFields
 * @property {string} url
 * @property {string[]} protocols
 * @property {[string, string][]} headers
 * @property {Limits | null} timeouts
 * @property {number | null} pingInterval
 * @property {number | null} maxMessageSize
 */

/** Limits by phase; Python knows and checks the names. @typedef {Record<string, number | null | undefined>} Limits */

/** @typedef {'auto' | 'cryptography' | 'npm'} ProviderChoice */

/**
 * Worker to page. `demand` asks for the next part of a streamed request body.
 *
 * @typedef {object} ToPageMap
 * @property {{id: number, value: any}} result
 * @property {{id: number, error: Failure}} failure
 * @property {{target: number, maxBytes: number}} demand
 * @property {{event: EventName, detail: any}} event
 */

/** @typedef {'statechange' | 'progress' | 'stats' | 'log'} EventName */

/**
 * An error on its way to the page. `code` is stable (errors.py); `phase` is set by time-outs, `field` by options.
 *
 * @typedef {object} Failure
 * @property {string} name
 * @property {string} code
 * @property {string} message
 * @property {boolean} retriable
 * @property {string | null} phase
 * @property {string | null} field
 */

/** @typedef {{[K in keyof ToWorkerMap]: {kind: K} & ToWorkerMap[K]}[keyof ToWorkerMap]} ToWorker */
/** @typedef {{[K in keyof ToPageMap]: {kind: K} & ToPageMap[K]}[keyof ToPageMap]} ToPage */

/** Field names by kind, page to worker. @type {Readonly<Record<keyof ToWorkerMap, readonly string[]>>} */
export const TO_WORKER = Object.freeze({
  boot: ['id', 'version', 'assets', 'integrity', 'provider', 'network'],
  setup: ['id', 'options'],
  disconnect: ['id'],
  info: ['id'],
  stats: ['id'],
  fetch: [
    ...['id', 'url', 'method', 'headers', 'body'],
    ...['redirect', 'maxRedirects', 'timeout', 'timeouts', 'credentials'],
  ],
  pull: ['id', 'target', 'maxBytes'],
  upload: ['target', 'data', 'error'],
  resolve: ['id', 'host', 'family', 'all', 'timeout'],
  socketOpen: ['id', 'url', 'protocols', 'headers', 'timeouts', 'pingInterval', 'maxMessageSize'],
  socketReceive: ['id', 'target'],
  socketSend: ['id', 'target', 'text', 'data'],
  socketClose: ['id', 'target', 'code', 'reason'],
  mixSend: ['id', 'recipient', 'data', 'replySurbs'],
  mixReply: ['id', 'senderTag', 'data'],
  mixReceive: ['id'],
  abort: ['target'],
});

/** Field names by kind, worker to page. @type {Readonly<Record<keyof ToPageMap, readonly string[]>>} */
export const TO_PAGE = Object.freeze({
  result: ['id', 'value'],
  failure: ['id', 'error'],
  demand: ['target', 'maxBytes'],
  event: ['event', 'detail'],
});

/**
 * Buffers that move with a message instead of being copied.
 *
 * @param {ToWorker | ToPage} message
 * @returns {Transferable[]}
 */
export function transferList(message) {
  /** @type {unknown} */
  let payload = null;
  if (message.kind === 'fetch') payload = message.body;
  else if (message.kind === 'upload' || message.kind === 'socketSend') payload = message.data;
  else if (message.kind === 'mixSend' || message.kind === 'mixReply') payload = message.data;
  else if (message.kind === 'result') payload = message.value?.data;
  return payload instanceof ArrayBuffer ? [payload] : [];
}

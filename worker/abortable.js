/**
 * Waits and requests that an `AbortSignal` ends.
 *
 * @module
 */

/** @import {RequestKind, WorkerLink} from './link.js' */
/** @import {ToWorkerMap} from './protocol.js' */

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal | null} signal
 * @returns {Promise<T>} rejects with the signal's reason as soon as it fires
 */
export function abortable(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/**
 * A request to the worker that ends there as well when the signal fires.
 *
 * @template {RequestKind} K
 * @param {WorkerLink} link
 * @param {K} kind
 * @param {Omit<ToWorkerMap[K], 'id'>} fields
 * @param {AbortSignal | null} signal
 * @returns {Promise<any>}
 */
export async function abortableRequest(link, kind, fields, signal) {
  const answer = link.request(kind, fields);
  const abort = () => link.abort(answer.id);
  signal?.addEventListener('abort', abort);
  try {
    return await abortable(answer, signal);
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

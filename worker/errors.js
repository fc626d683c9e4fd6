/**
 * Errors as a page meets them.
 *
 * @module
 */

/** @import {Failure} from './protocol.js' */
/** @import {MixError as MixErrorType} from './smolmix.js' */

/**
 * What went wrong in the tunnel. `code` is stable and fit for a `switch`; `retriable` says whether the same call
 * may work when made again; `phase` names the wait that ran out; `field` the option that is not acceptable.
 *
 * @implements {MixErrorType}
 */
export class MixError extends Error {
  /** @param {Partial<Failure> & {code: string, message: string}} failure */
  constructor(failure) {
    super(failure.message);
    this.name = 'MixError';
    this.code = failure.code;
    this.retriable = failure.retriable ?? false;
    this.phase = failure.phase ?? null;
    this.field = failure.field ?? null;
  }
}

/**
 * The error with which `mixFetch` rejects, shaped as `fetch` shapes it: `TypeError` for everything but time-outs, with
 * the tunnel's own error as `cause`. (Whoever aborts gets the reason of its own signal.)
 *
 * @param {unknown} error
 * @returns {Error}
 */
export function fetchError(error) {
  if (!(error instanceof MixError)) return /** @type {Error} */ (error);
  if (error.code === 'TIMEOUT') {
    const timeout = new DOMException(error.message, 'TimeoutError');
    Object.defineProperty(timeout, 'cause', { value: error, configurable: true });
    return timeout;
  }
  return new TypeError(error.message, { cause: error });
}

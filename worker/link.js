/**
 * The page's end of one worker: numbers requests, matches answers, hands events on.
 *
 * @module
 */

/** @import {EventName, ToPage, ToWorker, ToWorkerMap} from './protocol.js' */

import { MixError } from './errors.js';
import { transferList } from './protocol.js';

/** @typedef {Exclude<keyof ToWorkerMap, 'upload' | 'abort'>} RequestKind */

/** One worker, seen from the page. */
export class WorkerLink {
  #nextId = 1;
  /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void}>} */
  #pending = new Map();
  /** Streamed request bodies by the id of their fetch. @type {Map<number, (maxBytes: number) => void>} */
  #uploads = new Map();
  /** @type {MixError | null} */
  #ended = null;
  #worker;
  #onEvent;
  #onCrash;

  /**
   * @param {Worker} worker
   * @param {string} folder URL of the folder that its script lies in
   * @param {(event: EventName, detail: any) => void} onEvent
   * @param {(error: MixError) => void} onCrash the worker died of itself; all its requests have been rejected
   */
  constructor(worker, folder, onEvent, onCrash) {
    this.#worker = worker;
    this.#onEvent = onEvent;
    this.#onCrash = onCrash;
    worker.addEventListener('message', ({ data }) => this.#receive(data));
    worker.addEventListener('messageerror', () => this.#crash('a message of the worker could not be read'));
    // A script that cannot be loaded gives an event without a message.
    worker.addEventListener('error', (event) => {
      event.preventDefault();
      if (event.message) this.#crash(event.message);
      else this.#crash(`${folder}worker.js could not be loaded`, 'ASSETS');
    });
  }

  /**
   * Sends a request. The promise has the id as a property, for `abort`.
   *
   * @template {RequestKind} K
   * @param {K} kind
   * @param {Omit<ToWorkerMap[K], 'id'>} fields
   * @returns {Promise<any> & {id: number}}
   */
  request(kind, fields) {
    const id = this.#nextId++;
    const promise = new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(this.#ended);
        return;
      }
      // First, because what cannot be cloned throws.
      this.#post(/** @type {ToWorker} */ (/** @type {unknown} */ ({ kind, id, ...fields })));
      this.#pending.set(id, { resolve, reject });
    });
    return Object.assign(promise, { id });
  }

  /** Ends a request at whatever point it is; its promise rejects. @param {number} target */
  abort(target) {
    this.#uploads.delete(target);
    if (!this.#ended) this.#post({ kind: 'abort', target });
  }

  /**
   * Serves the streamed body of fetch `target` as the worker asks for it.
   *
   * @param {number} target
   * @param {ReadableStreamDefaultReader<unknown>} reader
   * @returns {(reason: unknown) => void} gives the stream up
   */
  serveUpload(target, reader) {
    /** @param {Uint8Array | null} chunk @param {string | null} error */
    const answer = (chunk, error) => {
      if (!this.#uploads.has(target) || this.#ended) return;
      if (chunk === null) this.#uploads.delete(target);
      // A copy: the page may go on using its buffer.
      const data = chunk && /** @type {ArrayBuffer} */ (chunk.slice().buffer);
      this.#post({ kind: 'upload', target, data, error });
    };
    this.#uploads.set(target, () => {
      reader.read().then(
        ({ done, value }) => {
          if (done) answer(null, null);
          else if (value instanceof Uint8Array) answer(value, null);
          else answer(null, 'a request body stream must yield Uint8Array chunks');
        },
        (reason) => answer(null, String(reason)),
      );
    });
    return (reason) => {
      this.#uploads.delete(target);
      reader.cancel(reason).catch(() => {});
    };
  }

  /** Stops the worker at once; requests under way reject with `error`. @param {MixError} error */
  terminate(error) {
    this.#worker.terminate();
    this.#end(error);
  }

  /** @param {ToWorker} message */
  #post(message) {
    this.#worker.postMessage(message, transferList(message));
  }

  /** @param {ToPage} message */
  #receive(message) {
    switch (message.kind) {
      case 'result':
        this.#take(message.id)?.resolve(message.value);
        break;
      case 'failure':
        this.#take(message.id)?.reject(new MixError(message.error));
        break;
      case 'demand':
        this.#uploads.get(message.target)?.(message.maxBytes);
        break;
      case 'event':
        this.#onEvent(message.event, message.detail);
    }
  }

  /** @param {number} id */
  #take(id) {
    const waiting = this.#pending.get(id);
    this.#pending.delete(id);
    return waiting;
  }

  /** @param {string} problem @param {string} [code] */
  #crash(problem, code = 'WORKER') {
    if (this.#ended) return;
    const error = new MixError({ code, message: `the tunnel's worker failed: ${problem}`, retriable: true });
    this.terminate(error);
    this.#onCrash(error);
  }

  /** @param {MixError} error */
  #end(error) {
    this.#ended ??= error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
    this.#uploads.clear();
  }
}

/**
 * Entry of the worker: boots, then moves messages between the page and Python.
 *
 * A message crosses to Python as one JSON text and at most one buffer, so that no proxy lives longer than a call.
 *
 * @module
 */

/** @import {ToPage, ToWorker} from './protocol.js' */
/** @import {Receive} from './boot.js' */

import { BootError } from './assets.js';
import { boot } from './boot.js';
import { transferList } from './protocol.js';

/** @type {Receive | null} */
let receive = null;

self.onmessage = ({ data: message }) => {
  if (message.kind === 'boot') start(message);
  else toPython(message);
};

/** @param {Extract<ToWorker, {kind: 'boot'}>} message */
async function start({ id, version, assets, provider, integrity, network }) {
  try {
    const booted = await boot({
      version,
      assets,
      provider,
      integrity,
      network,
      post: fromPython,
      onProgress: (stage, fraction) =>
        toPage({ kind: 'event', event: 'progress', detail: { stage: `boot:${stage}`, fraction } }),
    });
    receive = booted.receive;
    toPage({ kind: 'result', id, value: booted.summary });
  } catch (error) {
    const known = error instanceof BootError ? error : new BootError('BOOT', lastLine(error));
    toPage({ kind: 'failure', id, error: known.toFailure() });
  }
}

/** Of a Python traceback, its last line says what happened. @param {unknown} error */
function lastLine(error) {
  return String(error).trim().split('\n').at(-1) ?? '';
}

/** @param {ToWorker} message */
function toPython(message) {
  const [buffer] = /** @type {(ArrayBuffer | undefined)[]} */ (transferList(message));
  let text;
  try {
    text = JSON.stringify(message, (_, value) => (value === buffer ? null : value));
  } catch (error) {
    // Structured clone carries more than JSON does (a BigInt among the options, a cycle).
    if ('id' in message) {
      toPage({ kind: 'failure', id: message.id, error: new BootError('BAD_OPTION', String(error)).toFailure() });
    }
    return;
  }
  receive?.(text, buffer);
}

/** @param {string} text @param {Uint8Array | undefined} buffer */
function fromPython(text, buffer) {
  const message = JSON.parse(text);
  if (buffer) message.value = { ...message.value, data: buffer.buffer };
  toPage(message);
}

/** @param {ToPage} message */
function toPage(message) {
  self.postMessage(message, { transfer: transferList(message) });
}

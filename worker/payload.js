/**
 * The payload encoding of Nym's TypeScript SDK: a raw message with a MIME type and headers in front. Pages that talk
 * to programs made with that SDK need it; between pages of this package raw bytes are enough.
 *
 *     8 bytes   length m of the metadata, big-endian
 *     m bytes   JSON: {"mimeType": text, "headers": text or null}
 *     the rest  payload
 *
 * @module
 */

/** @import {MixPayload} from './smolmix.js' */

const LENGTH_BYTES = 8;

/**
 * @param {string} mimeType
 * @param {string | ArrayBuffer | ArrayBufferView} payload a string is encoded as UTF-8
 * @param {string | null} [headers]
 * @returns {ArrayBuffer} what `send` of a mix client takes
 */
export function encodePayload(mimeType, payload, headers = null) {
  if (typeof mimeType !== 'string') throw new TypeError('mimeType: a text is wanted');
  if (headers !== null && typeof headers !== 'string') throw new TypeError('headers: a text or null is wanted');
  const metadata = new TextEncoder().encode(JSON.stringify({ mimeType, headers }));
  const body = toBytes(payload);
  const message = new Uint8Array(LENGTH_BYTES + metadata.length + body.length);
  new DataView(message.buffer).setBigUint64(0, BigInt(metadata.length));
  message.set(metadata, LENGTH_BYTES);
  message.set(body, LENGTH_BYTES + metadata.length);
  return message.buffer;
}

/**
 * @param {ArrayBuffer | ArrayBufferView} message
 * @returns {MixPayload}
 * @throws {TypeError} it is not of this form
 */
export function decodePayload(message) {
  const bytes = toBytes(message);
  if (bytes.length < LENGTH_BYTES) throw new TypeError(`payload: ${bytes.length} bytes are no message of this form`);
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0);
  if (length > bytes.length - LENGTH_BYTES) throw new TypeError('payload: the metadata is longer than the message');
  const end = LENGTH_BYTES + Number(length);
  /** @type {any} */
  let metadata;
  try {
    metadata = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(LENGTH_BYTES, end)));
  } catch {
    throw new TypeError('payload: the metadata is not JSON');
  }
  const { mimeType, headers = null } = metadata ?? {};
  if (typeof mimeType !== 'string' || (headers !== null && typeof headers !== 'string')) {
    throw new TypeError('payload: the metadata has no mimeType, or headers that are no text');
  }
  return { mimeType, headers, payload: bytes.slice(end).buffer };
}

/** @param {unknown} data @returns {Uint8Array<ArrayBuffer>} */
function toBytes(data) {
  if (typeof data === 'string') return new TextEncoder().encode(data);
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) {
    return new Uint8Array(/** @type {ArrayBuffer} */ (data.buffer), data.byteOffset, data.byteLength);
  }
  throw new TypeError('payload: a string, an ArrayBuffer or a view of one is wanted');
}

/**
 * A response body on the page: text and bytes as they come, pictures when they are complete.
 *
 * @module
 */

import { make } from './dom.js';
import { size } from './format.js';

/** Longest part of a text that is shown. */
const TEXT_BYTES = 100_000;
const HEX_BYTES = 512;

const IMAGE = /^image\/(png|jpeg|gif|webp|avif|svg\+xml)\b/;
const TEXT = /^text\/|json|xml|javascript|urlencoded|event-stream/;

export class Preview {
  /** @type {Uint8Array<ArrayBuffer>[]} */
  #parts = [];
  #size = 0;
  #type;
  #box = make('pre', { tabIndex: 0 });
  #decoder = new TextDecoder();
  /** @type {'unknown' | 'image' | 'text' | 'bytes'} */
  #kind = 'unknown';

  /**
   * @param {HTMLElement} place
   * @param {string} type the response's Content-Type
   */
  constructor(place, type) {
    this.#type = type;
    this.#box.setAttribute('aria-label', 'Response body');
    this.place = place;
    place.replaceChildren();
  }

  get size() {
    return this.#size;
  }

  /** @param {Uint8Array<ArrayBuffer>} part */
  add(part) {
    if (this.#kind === 'unknown') this.#begin(part);
    const shownBefore = this.#size;
    this.#parts.push(part);
    this.#size += part.byteLength;
    if (this.#kind === 'text' && shownBefore < TEXT_BYTES) {
      const cut = part.subarray(0, TEXT_BYTES - shownBefore);
      this.#box.append(this.#decoder.decode(cut, { stream: true }));
    } else if (this.#kind === 'bytes' && shownBefore < HEX_BYTES) {
      this.#box.textContent = hexDump(join(this.#parts).subarray(0, HEX_BYTES));
    }
  }

  /** The body is complete. @returns {Promise<Blob>} */
  async finish() {
    const blob = new Blob(this.#parts, { type: this.#type });
    if (this.#kind === 'image') await this.#showImage(blob);
    if (this.#kind === 'text' && this.#type.includes('json') && this.#size <= TEXT_BYTES) this.#indent();
    const hidden = this.#size - (this.#kind === 'bytes' ? HEX_BYTES : TEXT_BYTES);
    if (this.#kind !== 'image' && hidden > 0) this.#box.append(`\n… ${size(hidden)} more`);
    return blob;
  }

  /** @param {Uint8Array} first */
  #begin(first) {
    if (IMAGE.test(this.#type)) {
      this.#kind = 'image';
      return;
    }
    const binary = !TEXT.test(this.#type) && first.subarray(0, 1000).some((byte) => byte < 9);
    this.#kind = binary ? 'bytes' : 'text';
    this.#box.classList.toggle('hex', binary);
    this.place.replaceChildren(this.#box);
  }

  /** @param {Blob} blob */
  async #showImage(blob) {
    const image = new Image();
    image.alt = 'The picture that was fetched';
    image.src = URL.createObjectURL(blob);
    try {
      await image.decode();
      this.place.replaceChildren(image);
    } catch {
      this.#box.textContent = 'The picture cannot be shown: it is damaged, or of a kind that this browser lacks.';
      this.place.replaceChildren(this.#box);
    }
    URL.revokeObjectURL(image.src);
  }

  #indent() {
    try {
      this.#box.textContent = JSON.stringify(JSON.parse(this.#box.textContent ?? ''), null, 2);
    } catch {
      // Not JSON in spite of its name: it stays as it came.
    }
  }
}

/** @param {Uint8Array[]} parts */
function join(parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.byteLength;
  }
  return all;
}

/** @param {Uint8Array} bytes @returns {string} offset, hexadecimal and printable characters, 16 bytes a line */
export function hexDump(bytes) {
  const lines = [];
  for (let start = 0; start < bytes.length; start += 16) {
    const row = [...bytes.subarray(start, start + 16)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const text = row.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`${start.toString(16).padStart(6, '0')}  ${hex.padEnd(47)}  ${text}`);
  }
  return lines.join('\n');
}

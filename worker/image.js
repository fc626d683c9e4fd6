/**
 * Memory images: the memory of a Python that has imported everything, as the difference to that of a fresh instance.
 *
 *     16 bytes   magic, size of the header, number of runs, number of pages (unsigned, little-endian)
 *     header     JSON, padded with spaces: `memory` (bytes), `config` (what JavaScript objects Python holds)
 *     runs       first page and number of pages each
 *     pages      their content; where a fresh instance has data of its own, the exclusive or with it
 *
 * The build makes them (`worker/build/`); nothing that is secret or random is in them.
 *
 * @module
 */

export const IMAGE_MAGIC = 0x49584d53;
/** Bytes. */
export const PAGE = 4096;
const WASM_PAGE = 65536;

/**
 * @typedef {object} Image
 * @property {number} memory size of the whole memory, bytes
 * @property {object} config what Pyodide needs to restore
 * @property {Uint32Array} runs
 * @property {Uint8Array} pages
 */

/**
 * @param {ArrayBuffer} data
 * @returns {Image}
 * @throws it is none
 */
export function parseImage(data) {
  const [magic, headerSize, runCount, pageCount] = new Uint32Array(data, 0, 4);
  const start = 16 + headerSize + 8 * runCount;
  if (magic !== IMAGE_MAGIC || data.byteLength !== start + PAGE * pageCount) throw new Error('not a memory image');
  const { memory, config } = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 16, headerSize)));
  const runs = new Uint32Array(data, 16 + headerSize, 2 * runCount);
  return { memory, config, runs, pages: new Uint8Array(data, start) };
}

/** An image on its way into a memory. Pyodide keeps the functions that call this, so it lets go of what was used. */
export class Restoration {
  /** @type {Image | null} */
  #image;
  #pristine = new Uint8Array();

  /** @param {Image} image */
  constructor(image) {
    this.#image = image;
  }

  /** Keeps what the instance starts with and makes room. @param {WebAssembly.Memory} memory of an instance that has not run */
  prepare(memory) {
    const fresh = new Uint8Array(memory.buffer);
    this.#pristine = fresh.slice(0, staticEnd(fresh));
    const missing = (this.#image?.memory ?? 0) - fresh.length;
    if (missing > 0) memory.grow(Math.ceil(missing / WASM_PAGE));
  }

  /** @param {Uint8Array} memory of that instance @returns {object} what Pyodide needs to restore @throws it was used */
  finish(memory) {
    if (!this.#image) throw new Error('an image is used once');
    const { config } = this.#image;
    applyImage(this.#image, memory, this.#pristine);
    this.#image = null;
    this.#pristine = new Uint8Array();
    return config;
  }
}

/** Where the data that an instance starts with ends, rounded up to a page. @param {Uint8Array} pristine */
export function staticEnd(pristine) {
  const words = new Uint32Array(pristine.buffer, pristine.byteOffset, pristine.length / 4);
  let end = words.length;
  while (end > 0 && words[end - 1] === 0) end -= 1;
  return Math.ceil((4 * end) / PAGE) * PAGE;
}

/**
 * Puts the image into a memory, whatever has become of it since.
 *
 * @param {Image} image
 * @param {Uint8Array} memory
 * @param {Uint8Array} pristine its first bytes as they were before the instance ran, up to `staticEnd`
 */
export function applyImage({ runs, pages }, memory, pristine) {
  memory.set(pristine);
  memory.fill(0, pristine.length);
  let position = 0;
  for (let index = 0; index < runs.length; index += 2) {
    const start = runs[index] * PAGE;
    const length = runs[index + 1] * PAGE;
    const part = pages.subarray(position, position + length);
    const shared = Math.min(Math.max(pristine.length - start, 0), length);
    const words = new Uint32Array(memory.buffer, memory.byteOffset + start, shared / 4);
    const changes = new Uint32Array(part.buffer, part.byteOffset, shared / 4);
    for (let word = 0; word < words.length; word++) words[word] ^= changes[word];
    memory.set(part.subarray(shared), start + shared);
    position += length;
  }
}

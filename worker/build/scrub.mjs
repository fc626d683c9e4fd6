/**
 * Zeros where a memory holds nothing: what has been freed still holds what was there, and would be in the image.
 *
 * @module
 */

/** Bytes. Small enough that the memory does not grow on the way. */
const LARGEST = 1 << 16;
/** What the allocator puts before each block, and the steps in which it counts. */
const HEADER = 4;
const STEP = 8;
const SMALLEST = 12;
/** From here down every size is tried, so that no free block is left. */
const SMALL = 512;

/**
 * Takes everything that is free, from the largest blocks to the smallest, fills it with zeros and gives it back.
 *
 * @param {{_malloc: (size: number) => number, _free: (at: number) => void, HEAPU8: Uint8Array}} module of Emscripten
 */
export function scrub(module) {
  const { _malloc: malloc, _free: free } = module;
  let last = module.HEAPU8.length - 1;
  while (module.HEAPU8[last] === 0) last -= 1;
  const taken = [];
  for (const size of sizes()) {
    let block = malloc(size);
    // Beyond the last byte that was ever written, all is zero: no gap of this size is left before it.
    for (; block !== 0 && block <= last; block = malloc(size)) {
      module.HEAPU8.fill(0, block, block + size);
      taken.push(block);
    }
    free(block);
  }
  for (const block of taken) free(block);
}

/** @returns {Generator<number>} sizes that fill blocks whole */
function* sizes() {
  for (let size = LARGEST; size > SMALL; size /= 2) yield size - HEADER;
  for (let size = SMALL - HEADER; size >= SMALLEST; size -= STEP) yield size;
}

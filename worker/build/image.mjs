/**
 * Writes memory images; `../image.js` reads them and has the format.
 *
 * @module
 */

import { IMAGE_MAGIC, PAGE, staticEnd } from '../image.js';

// Header of Pyodide's own snapshots (src/js/snapshot.ts): magic, offset of the memory, length of the configuration.
const SNAPSHOT_HEADER = 48;

/**
 * @param {Uint8Array} snapshot of Pyodide
 * @param {Uint8Array} pristine memory of an instance that has not run yet
 * @returns {Uint8Array}
 */
export function encodeImage(snapshot, pristine) {
  const [, offset, length] = new Uint32Array(snapshot.buffer, snapshot.byteOffset, 3);
  const config = JSON.parse(new TextDecoder().decode(snapshot.subarray(SNAPSHOT_HEADER, SNAPSHOT_HEADER + length)));
  const memory = snapshot.slice(offset);
  for (let index = staticEnd(pristine) - 1; index >= 0; index--) memory[index] ^= pristine[index];

  const runs = nonZeroRuns(memory);
  const header = new TextEncoder().encode(JSON.stringify({ memory: memory.length, config }));
  const headerSize = Math.ceil(header.length / 4) * 4;
  const pages = runs.reduce((sum, [, count]) => sum + count, 0);
  const image = new Uint8Array(16 + headerSize + 8 * runs.length + PAGE * pages);
  new Uint32Array(image.buffer, 0, 4).set([IMAGE_MAGIC, headerSize, runs.length, pages]);
  image.fill(0x20, 16, 16 + headerSize);
  image.set(header, 16);
  new Uint32Array(image.buffer, 16 + headerSize, 2 * runs.length).set(runs.flat());
  let position = 16 + headerSize + 8 * runs.length;
  for (const [first, count] of runs) {
    image.set(memory.subarray(first * PAGE, (first + count) * PAGE), position);
    position += count * PAGE;
  }
  return image;
}

/** First page and number of pages of each stretch that is not zero. @param {Uint8Array} memory @returns {number[][]} */
function nonZeroRuns(memory) {
  const words = new Uint32Array(memory.buffer, memory.byteOffset, memory.length / 4);
  /** @type {number[][]} */
  const runs = [];
  for (let page = 0; page < memory.length / PAGE; page++) {
    if (!words.subarray((page * PAGE) / 4, ((page + 1) * PAGE) / 4).some((word) => word !== 0)) continue;
    const last = runs.at(-1);
    if (last && last[0] + last[1] === page) last[1] += 1;
    else runs.push([page, 1]);
  }
  return runs;
}

/**
 * Compresses files: `node worker/build/compress.mjs '[{"from": "...", "to": "....br", "quality": 11}]'`.
 *
 * A line on standard output says that one more is done.
 *
 * @module
 */

import { readFile, rename, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

await Promise.all(
  JSON.parse(process.argv[2]).map(async (/** @type {{from: string, to: string, quality: number}} */ { from, to, quality }) => {
    const data = await readFile(from);
    const partial = `${to}.${process.pid}`;
    await writeFile(partial, to.endsWith('.br') ? await toBrotli(data, quality, from) : await toGzip(data));
    await rename(partial, to);
    console.log(from);
  }),
);

/** @param {Buffer} data */
function toGzip(data) {
  return promisify(gzip)(data, { level: 9 });
}

/** @param {Buffer} data @param {number} quality @param {string} from */
function toBrotli(data, quality, from) {
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: quality,
    [constants.BROTLI_PARAM_LGWIN]: 24,
    [constants.BROTLI_PARAM_SIZE_HINT]: data.length,
    // Distances in the image of a memory are multiples of eight.
    ...(from.endsWith('.bin') && { [constants.BROTLI_PARAM_NPOSTFIX]: 3 }),
  };
  return promisify(brotliCompress)(data, { params });
}

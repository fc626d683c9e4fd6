#!/usr/bin/env node
/**
 * Copies the files that a page needs from this package into a folder of your site:
 *
 *     npx smolmix-web-assets public/smolmix
 *     npx smolmix-web-assets public/smolmix --compress
 *
 * With `--compress` there are `.br` and `.gz` files beside them, for servers that send such as they are. Files of an
 * earlier version are taken away. Exit code 2: wrong usage, 1: it did not work.
 *
 * @module
 */

import { cp, mkdir, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

const SOURCE = fileURLToPath(new URL('../assets/', import.meta.url));
const WORTH_IT = 1024;

const folders = process.argv.slice(2).filter((argument) => !argument.startsWith('-'));
const flags = process.argv.slice(2).filter((argument) => argument.startsWith('-'));
if (folders.length !== 1 || flags.some((flag) => flag !== '--compress')) {
  console.error('usage: smolmix-web-assets FOLDER [--compress]');
  process.exit(2);
}
try {
  await main(folders[0], flags.includes('--compress'));
} catch (error) {
  console.error(`smolmix-web-assets: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}

/** @param {string} folder @param {boolean} compress */
async function main(folder, compress) {
  await mkdir(folder, { recursive: true });
  const present = await readdir(folder);
  if (present.length > 0 && !present.includes('manifest.json')) {
    throw new Error(`${folder} holds other files; it is left alone`);
  }
  await rm(join(folder, 'files'), { recursive: true, force: true });
  await cp(SOURCE, folder, { recursive: true });
  const { files } = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8'));
  const paths = ['manifest.json', ...Object.values(files).map(({ path }) => path)];
  if (compress) await Promise.all(paths.map((path) => addCompressed(join(folder, path))));
  console.log(`${paths.length} files in ${folder}`);
}

/** @param {string} path */
async function addCompressed(path) {
  if ((await stat(path)).size < WORTH_IT) return;
  const data = await readFile(path);
  const params = { [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_SIZE_HINT]: data.length };
  await writeFile(`${path}.br`, await promisify(brotliCompress)(data, { params }));
  await writeFile(`${path}.gz`, await promisify(gzip)(data, { level: 9 }));
}

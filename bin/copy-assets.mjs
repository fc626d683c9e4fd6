#!/usr/bin/env node
/**
 * Copies the files that a page needs from this package into a folder of your site:
 *
 *     npx smolmix-web-assets public/smolmix
 *     npx smolmix-web-assets public/smolmix --compress
 *     npx smolmix-web-assets public/smolmix --features dns,fetch,socket
 *
 * With `--compress` there are `.br` and `.gz` files beside them, for servers that send such as they are. Files of an
 * earlier version are taken away. `--features` says what the page needs: the files of a package are all made for the same
 * features (`manifest.json` names them), and with others it is refused, for a part is built from a checkout only.
 * Exit code 2: wrong usage, 1: it did not work.
 *
 * @module
 */

import { cp, mkdir, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

const SOURCE = fileURLToPath(new URL('../assets/', import.meta.url));
const WORTH_IT = 1024;

const FEATURES = ['dns', 'fetch', 'socket'];
const USAGE = `usage: smolmix-web-assets FOLDER [--compress] [--features LIST]
LIST is some of ${FEATURES.join(',')} (default: what the package has)`;

const { folder, compress, features } = readArguments();
try {
  if (features) await checkFeatures(features);
  await main(folder, compress);
} catch (error) {
  console.error(`smolmix-web-assets: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}

/** @returns {{folder: string, compress: boolean, features: string[] | undefined}} */
function readArguments() {
  try {
    const { positionals, values } = parseArgs({
      allowPositionals: true,
      options: {
        compress: { type: 'boolean', default: false },
        features: { type: 'string' },
      },
    });
    const features = values.features?.split(',');
    const known = features?.every((feature) => FEATURES.includes(feature)) ?? true;
    if (positionals.length === 1 && known) return { folder: positionals[0], compress: values.compress, features };
  } catch {
    // An option that there is not.
  }
  console.error(USAGE);
  process.exit(2);
}

/** @param {string[]} wanted @throws {Error} the package was made for others */
async function checkFeatures(wanted) {
  const { features } = JSON.parse(await readFile(join(SOURCE, 'manifest.json'), 'utf8'));
  if (features.every((/** @type {string} */ one) => wanted.includes(one)) && wanted.every((one) => features.includes(one))) return;
  throw new Error(
    `this package was made for the features ${features.join(',')}; a build for ${wanted.join(',')} needs a checkout of ` +
      "smolmix-web: 'smolmix-web assets --features' there, or SMOLMIX_FEATURES with 'npm pack'",
  );
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

/**
 * Runs `vectors_runner.in_pyodide` on one provider in Pyodide, and prints the answer as JSON.
 *
 *     node tests/worker/crypto-in-pyodide.mjs npm
 *     node tests/worker/crypto-in-pyodide.mjs cryptography <folder with the wheels of cryptography, cffi, pycparser>
 */

import { printResult } from './pyodide-under-node.mjs';

await printResult(
  `
from vectors_runner import in_pyodide
in_pyodide.run(provider_name, None, "/project/tests/vectors")`,
  process.argv.slice(2),
);

/**
 * Boots the pinned Pyodide under Node and runs the TLS engine in it on one provider: the x509-limbo verdicts and a
 * recorded session, or the benchmark. Prints JSON.
 *
 *     node tests/worker/tls-in-pyodide.mjs npm
 *     node tests/worker/tls-in-pyodide.mjs cryptography <folder with the wheels of cryptography, cffi, pycparser>
 *     node tests/worker/tls-in-pyodide.mjs npm bench 2    the benchmark instead, 2 seconds per number
 */

import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { loadPyodide } from 'pyodide';

const root = fileURLToPath(new URL('../..', import.meta.url));
const [provider, ...rest] = process.argv.slice(2);
const wheels = provider === 'cryptography' ? rest.shift() : undefined;
const [task = 'vectors', seconds = '1'] = rest;

const pyodide = await loadPyodide({ stdout: console.error, stderr: console.error });
pyodide.registerJsModule('smolmix_npm_crypto', await import(`${root}/build/npm-crypto.js`));
for (const folder of ['src', 'tests', 'bench']) {
  pyodide.FS.mkdirTree(`/project/${folder}`);
  pyodide.FS.mount(pyodide.FS.filesystems.NODEFS, { root: `${root}/${folder}` }, `/project/${folder}`);
}
if (wheels) {
  for (const name of readdirSync(wheels).filter((file) => /^(cryptography|cffi|pycparser)-.*\.whl$/.test(file))) {
    await pyodide.loadPackage(`file://${wheels}/${name}`, { messageCallback: () => {} });
  }
}
pyodide.globals.set('provider_name', provider);
pyodide.globals.set('seconds', Number(seconds));
const prelude = `
import json, sys
sys.dont_write_bytecode = True
sys.path[:0] = ["/project/src", "/project/tests", "/project/bench"]
from smolmix_web import crypto
from smolmix_web.platform.npm_crypto import worker_provider
crypto.install(worker_provider(provider_name))
`;
const tasks = {
  bench: `
import bench_tls_replay
json.dumps(bench_tls_replay.measure(seconds))`,
  vectors: `
from vectors_runner import limbo, tls_replay
provider = crypto.provider()
tls_replay.replay(provider)
json.dumps({"provider": provider.name, "limbo": list(limbo.differences(provider)), "cases": len(limbo.cases())})`,
};
console.log(pyodide.runPython(prelude + tasks[task]));

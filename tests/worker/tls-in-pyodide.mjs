/**
 * Boots the pinned Pyodide under Node and runs the TLS engine in it on one provider: the x509-limbo verdicts and a
 * recorded session. Prints JSON.
 *
 *     node tests/worker/tls-in-pyodide.mjs npm
 *     node tests/worker/tls-in-pyodide.mjs cryptography <folder with the wheels of cryptography, cffi, pycparser>
 */

import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { loadPyodide } from 'pyodide';

const root = fileURLToPath(new URL('../..', import.meta.url));
const [provider, folderOfWheels] = process.argv.slice(2);
const wheels = provider === 'cryptography' ? folderOfWheels : undefined;

const pyodide = await loadPyodide({ stdout: console.error, stderr: console.error });
pyodide.registerJsModule('smolmix_npm_crypto', await import(`${root}/build/npm-crypto.js`));
for (const folder of ['src', 'tests']) {
  pyodide.FS.mkdirTree(`/project/${folder}`);
  pyodide.FS.mount(pyodide.FS.filesystems.NODEFS, { root: `${root}/${folder}` }, `/project/${folder}`);
}
if (wheels) {
  for (const name of readdirSync(wheels).filter((file) => /^(cryptography|cffi|pycparser)-.*\.whl$/.test(file))) {
    await pyodide.loadPackage(`file://${wheels}/${name}`, { messageCallback: () => {} });
  }
}
pyodide.globals.set('provider_name', provider);
console.log(
  pyodide.runPython(`
import json, sys
sys.dont_write_bytecode = True
sys.path[:0] = ["/project/src", "/project/tests"]
from smolmix_web import crypto
from smolmix_web.platform.npm_crypto import worker_provider
from vectors_runner import limbo, tls_replay
provider = worker_provider(provider_name)
crypto.install(provider)
tls_replay.replay(provider)
json.dumps({"provider": provider.name, "limbo": list(limbo.differences(provider)), "cases": len(limbo.cases())})`),
);

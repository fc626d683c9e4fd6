/**
 * Runs bench_sphinx.py where the tunnel runs: in a worker, under Pyodide.
 *
 * @module
 */

import { startPackages } from '/worker/boot.js';
import { PROTOCOL_VERSION } from '/worker/protocol.js';

self.onmessage = async ({ data: { provider, seconds } }) => {
  try {
    const assets = new URL('/worker/', self.location.href).href;
    const started = await startPackages({ assets, version: PROTOCOL_VERSION, provider, onProgress: () => {} });
    const source = await (await fetch(new URL('bench_sphinx.py', import.meta.url))).text();
    started.pyodide.FS.writeFile('/lib/bench_sphinx.py', source);
    const run = started.pyodide.runPython(`
import sys
sys.path.append("/lib")

def run(provider, npm, seconds):
    import json
    from bench_sphinx import measure
    from smolmix_web import crypto
    from smolmix_web.platform.npm_crypto import worker_provider
    crypto.install(worker_provider(provider, npm))
    return json.dumps(measure(seconds))

run`);
    self.postMessage(JSON.parse(run(started.provider, started.npm, seconds)));
  } catch (error) {
    self.postMessage({ error: String(error) });
  }
};

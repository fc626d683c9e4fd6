/**
 * Runs bench_tls_replay.py where the tunnel runs: in a worker, under Pyodide.
 *
 * @module
 */

import { startPackages } from '/worker/boot.js';
import { PROTOCOL_VERSION } from '/worker/protocol.js';

const FILES = {
  '/bench/bench_tls_replay.py': '/lib/tls_bench/bench_tls_replay.py',
  '/vectors_runner/tls_replay.py': '/lib/tls_bench/vectors_runner/tls_replay.py',
  '/vectors/replay.json': '/lib/tls_bench/vectors/tls/replay.json',
};

self.onmessage = async ({ data: { provider, seconds } }) => {
  try {
    const assets = new URL('/worker/', self.location.href).href;
    const started = await startPackages({ assets, version: PROTOCOL_VERSION, provider, onProgress: () => {} });
    for (const [url, path] of Object.entries(FILES)) {
      started.pyodide.FS.mkdirTree(path.slice(0, path.lastIndexOf('/')));
      started.pyodide.FS.writeFile(path, await (await fetch(url)).text());
    }
    const run = started.pyodide.runPython(`
import sys
sys.path.append("/lib/tls_bench")

def run(provider, npm, seconds):
    import json
    from smolmix_web import crypto
    from smolmix_web.platform.npm_crypto import worker_provider
    crypto.install(worker_provider(provider, npm))
    from bench_tls_replay import measure
    return json.dumps(measure(seconds))

run`);
    self.postMessage(JSON.parse(run(started.provider, started.npm, seconds)));
  } catch (error) {
    self.postMessage({ error: String(error) });
  }
};

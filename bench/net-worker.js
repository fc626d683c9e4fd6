/**
 * Runs tcp_memory.py where the tunnel runs: in a worker, under Pyodide.
 *
 * @module
 */

import { startPackages } from '/worker/boot.js';
import { PROTOCOL_VERSION } from '/worker/protocol.js';

self.onmessage = async ({ data: { provider, size, segments, rounds } }) => {
  try {
    const assets = new URL('/worker/', self.location.href).href;
    const started = await startPackages({ assets, version: PROTOCOL_VERSION, provider, onProgress: () => {} });
    const source = await (await fetch(new URL('tcp_memory.py', import.meta.url))).text();
    started.pyodide.FS.writeFile('/lib/tcp_memory.py', source);
    const run = started.pyodide.runPython(`
import sys
sys.path.append("/lib")

def run(size, segments, rounds):
    import json
    from tcp_memory import measure
    return json.dumps(measure(size, segments, rounds))

run`);
    self.postMessage(JSON.parse(run(size, segments, rounds)));
  } catch (error) {
    self.postMessage({ error: String(error) });
  }
};

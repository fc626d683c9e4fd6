/**
 * Runs the TLS engine in Pyodide on one provider: the x509-limbo verdicts and a recorded session. Prints JSON.
 *
 *     node tests/worker/tls-in-pyodide.mjs npm
 *     node tests/worker/tls-in-pyodide.mjs cryptography <folder with the wheels of cryptography, cffi, pycparser>
 */

import { printResult } from './pyodide-under-node.mjs';

await printResult(
  `
import json
from smolmix_web import crypto
from smolmix_web.platform.npm_crypto import worker_provider
from vectors_runner import limbo, tls_replay
provider = worker_provider(provider_name)
crypto.install(provider)
tls_replay.replay(provider)
json.dumps({"provider": provider.name, "limbo": list(limbo.differences(provider)), "cases": len(limbo.cases())})`,
  process.argv.slice(2),
);

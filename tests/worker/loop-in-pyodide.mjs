/**
 * Boots the pinned Pyodide under Node and runs loop_checks.py in it, on the loop that our worker uses. Prints JSON.
 *
 *     node tests/worker/loop-in-pyodide.mjs
 */

import { fileURLToPath } from 'node:url';

import { loadPyodide } from 'pyodide';

const root = fileURLToPath(new URL('../..', import.meta.url));

// As in a worker: timers are numbers, and somebody counts those that are set and still there.
const timers = new Map();
let lastTimer = 0;
let tasks = 0;
globalThis.setTimeout = ((original) => (action, delay, ...more) => {
  const id = (lastTimer += 1);
  timers.set(id, original(() => timers.delete(id) && action(...more), delay));
  return id;
})(globalThis.setTimeout);
globalThis.clearTimeout = ((original) => (id) => {
  original(timers.get(id));
  timers.delete(id);
})(globalThis.clearTimeout);
globalThis.MessageChannel = class extends MessageChannel {
  constructor() {
    super();
    const { port2 } = this;
    const post = port2.postMessage.bind(port2);
    port2.postMessage = (message) => {
      tasks += 1;
      post(message);
    };
  }
};
globalThis.countOfTimers = () => timers.size;
globalThis.countOfTasks = () => tasks;

const pyodide = await loadPyodide({ stdout: console.error, stderr: console.error });
for (const folder of ['src', 'tests/worker']) {
  pyodide.FS.mkdirTree(`/project/${folder}`);
  pyodide.FS.mount(pyodide.FS.filesystems.NODEFS, { root: `${root}/${folder}` }, `/project/${folder}`);
}
const found = await new Promise((resolve, reject) => {
  const start = pyodide.runPython(`
import sys
sys.dont_write_bytecode = True
sys.path[:0] = ["/project/src", "/project/tests/worker"]
import loop_checks
loop_checks.start`);
  start(resolve, reject);
});
console.log(found);
process.exit(0); // the channel would keep Node waiting

// The tasks of the comparison, the same for both clients: their exports have the same names.
// Each returns milliseconds, and throws where what arrived is not what was asked for.

/** @type {any} */
let mix;

/** Bytes that no compression of a client makes fewer. @param {number} size */
function noise(size) {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
  return bytes;
}

/** @param {boolean} truth @param {string} message */
function expect(truth, message) {
  if (!truth) throw new Error(message);
}

/** @param {() => Promise<unknown>} action */
async function timed(action) {
  const start = performance.now();
  await action();
  return performance.now() - start;
}

/** @param {string} url @param {number} size */
async function get(url, size) {
  const response = await mix.mixFetch(url);
  expect(response.status === 200, `status ${response.status}`);
  const body = await response.arrayBuffer();
  expect(body.byteLength === size, `${body.byteLength} of ${size} bytes`);
}

/** @param {string} url */
async function openSocket(url) {
  const socket = new mix.MixWebSocket(url);
  /** @type {any[]} */
  const arrived = [];
  let wake = () => {};
  let broken = '';
  socket.addEventListener('message', (/** @type {MessageEvent} */ event) => {
    arrived.push(event.data);
    wake();
  });
  for (const kind of ['close', 'error']) {
    socket.addEventListener(kind, () => {
      broken = `the socket had an event ${kind}`;
      wake();
    });
  }
  await socket.opened();
  return {
    socket,
    async next() {
      while (!arrived.length) {
        if (broken) throw new Error(broken);
        await new Promise((resolve) => {
          wake = () => resolve(undefined);
        });
      }
      return arrived.shift();
    },
  };
}

/** @type {Record<string, (...args: any[]) => Promise<number | number[]>>} */
const tasks = {
  get: (url, size) => timed(() => get(url, size)),
  gets: async (url, size, count) => {
    const times = [];
    for (let index = 0; index < count; index += 1) times.push(await timed(() => get(url, size)));
    return times;
  },
  parallel: (url, size, count) =>
    timed(() => Promise.all(Array.from({ length: count }, (_, index) => get(`${url}?seed=${index}`, size)))),
  upload: (url, size) => {
    const body = noise(size);
    return timed(async () => {
      const response = await mix.mixFetch(url, { method: 'POST', body });
      const seen = await response.json();
      expect(seen.length === size, `${seen.length} of ${size} bytes`);
    });
  },
  dns: async (names) => {
    const times = [];
    for (const name of names) times.push(await timed(() => mix.mixDNS(name)));
    return times;
  },
  echo: async (url, rounds) => {
    const { socket, next } = await openSocket(url);
    const times = [];
    for (let round = 0; round < rounds; round += 1) {
      times.push(
        await timed(async () => {
          await socket.send(`message ${round}`);
          expect((await next()) === `message ${round}`, 'another message came back');
        }),
      );
    }
    await socket.close();
    return times;
  },
  stream: async (url, size, count) => {
    const { socket, next } = await openSocket(url);
    const messages = Array.from({ length: count }, () => noise(size / count)); // alike, they would compress
    const time = await timed(async () => {
      const sending = (async () => {
        for (const message of messages) await socket.send(message);
      })();
      for (let index = 0; index < count; index += 1) {
        const data = await next();
        expect(data.byteLength === size / count, 'a message of another size came back');
      }
      await sending;
    });
    await socket.close();
    return time;
  },
  idle: async (ms) => timed(() => new Promise((resolve) => setTimeout(resolve, ms))),
  disconnect: () => timed(() => mix.disconnectMixTunnel()),
};

/** @param {string} name @param {any[]} args @param {number} limit milliseconds */
async function run(name, args, limit) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${limit / 1000} s`)), limit);
  });
  try {
    return { value: await Promise.race([tasks[name](...args), late]) };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  } finally {
    clearTimeout(timer);
  }
}

/** From the page's first byte to a tunnel that is ready: the clock starts with the navigation. */
async function start() {
  try {
    const names = /** @type {string} */ (document.documentElement.dataset.modules).split(' ');
    mix = Object.assign({}, ...(await Promise.all(names.map((name) => import(name)))));
    await mix.setupMixTunnel(JSON.parse(decodeURIComponent(location.hash.slice(1))));
    return { value: performance.now() };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

Object.assign(window, { compare: { ready: start(), run } });

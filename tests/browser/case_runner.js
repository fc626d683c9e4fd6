/**
 * Runs the cases of tests/cases in a page, with smolmix or with the browser's own `fetch` and `WebSocket`, and tells
 * what was seen. `support/case_table.py` explains a case; `support/case_native.py` is the twin of this file.
 */
async (optionsOfCookies) => {
  const { mix } = window;
  const BASE = 'http://web.test';
  const cookies = new mix.MixTunnel(optionsOfCookies);
  await cookies.setup();

  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const hex = (bytes) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  const sha256 = async (bytes) => hex(await crypto.subtle.digest('SHA-256', bytes));
  const pattern = (size) => new Uint8Array(size).map((_, index) => (index * 31 + (index >> 8) * 7) & 255);
  const errorSeen = (error) => ({
    name: error?.name ?? String(error),
    message: String(error?.message ?? error),
    code: error?.cause?.code ?? (typeof error?.code === 'string' ? error.code : null),
    phase: error?.cause?.phase ?? error?.phase ?? null,
    retriable: error?.cause?.retriable ?? error?.retriable ?? null,
  });

  // ---- fetch ----

  const LIMITS = ['maxRedirects', 'timeout', 'timeouts'];
  const INIT = ['method', 'headers', 'redirect', 'credentials', 'integrity', ...LIMITS];

  const stream = ({ chunks, pause: wait = 0, break: breaks = false }) => {
    let number = 0;
    return new ReadableStream({
      async pull(controller) {
        if (number === chunks.length) return breaks ? controller.error(new Error('broke')) : controller.close();
        if (wait) await pause(wait);
        const size = chunks[number];
        // A byte stream may not give empty parts; this one may.
        controller.enqueue(new Uint8Array(size).fill(number++));
      },
    });
  };

  const bodyOf = (body) => {
    switch (body.kind) {
      case 'text':
      case 'request':
        return body.text;
      case 'bytes':
        return pattern(body.bytes);
      case 'view':
        return pattern(body.bytes).subarray(body.from, body.to);
      case 'dataview':
        return new DataView(pattern(body.bytes).buffer);
      case 'blob':
        return new Blob([body.text], { type: body.type });
      case 'params':
        return new URLSearchParams(body.entries);
      case 'form': {
        const form = new FormData();
        for (const [name, value] of body.entries) form.append(name, value);
        const [name, file, type, content] = body.file;
        form.append(name, new File([content], file, { type }));
        return form;
      }
      default:
        return stream(body);
    }
  };

  const call = (how, step) => {
    if (how === 'direct') return fetch;
    return step.tunnel === 'cookies' ? (...given) => cookies.mixFetch(...given) : mix.mixFetch;
  };

  const doFetch = async (how, step, seen, signal, abort) => {
    let input = step.url.startsWith('/') ? BASE + step.url : step.url;
    const init = { signal };
    for (const name of INIT) if (step[name] !== undefined) init[name] = step[name];
    if (how === 'direct') init.cache = 'no-store';
    if (step.body) init.body = bodyOf(step.body);
    if (step.body?.kind.startsWith('request')) {
      input = new Request(input, { ...init, duplex: 'half' });
      delete init.body;
      delete init.method;
    }
    if (step.input === 'url') input = new URL(input);
    if (step.input === 'request') input = new Request(input);
    const response = await call(how, step)(input, init);
    Object.assign(seen, {
      status: response.status,
      statusText: response.statusText,
      url: response.url,
      redirected: response.redirected,
      headers: [...response.headers].filter(([name]) => name !== 'set-cookie'),
      setCookie: response.headers.getSetCookie(),
      nullBody: response.body === null,
      chunks: 0,
    });
    const parts = [];
    if (response.body) {
      const reader = response.body.getReader();
      for (;;) {
        if (abort === 'head') signal.fire();
        const { done, value } = await reader.read();
        if (done) break;
        parts.push(value);
        seen.chunks += 1;
        if (abort === 'body') signal.fire();
        if (step.read === 'cancel') {
          await reader.cancel();
          seen.cancelled = true;
          return;
        }
      }
    }
    const whole = new Blob(parts);
    seen.size = whole.size;
    seen.sha256 = await sha256(await whole.arrayBuffer());
    seen.text = whole.size < 100_000 ? await whole.text() : null;
  };

  const fetchOnce = async (how, one) => {
    for (const step of one.first ?? []) await doFetch(how, { tunnel: one.tunnel, ...step }, {}, undefined);
    const seen = {};
    const controller = new AbortController();
    const fire = () => controller.abort(one.reason ? new Error(one.reason) : undefined);
    const wants = one.abort !== undefined;
    const signal = one.signalTimeout ? AbortSignal.timeout(one.signalTimeout) : wants ? controller.signal : undefined;
    if (signal) signal.fire = fire;
    if (one.abort === 'start') fire();
    const timer = typeof one.abort === 'number' ? setTimeout(fire, one.abort) : 0;
    try {
      await doFetch(how, one, seen, signal, one.abort);
      if (one.abort === 'end') fire();
    } catch (error) {
      seen.error = errorSeen(error);
    }
    clearTimeout(timer);
    return seen;
  };

  // ---- WebSocket ----

  const messageOf = (message) => {
    if (typeof message === 'string') return message;
    if (message.surrogate) return '\ud800';
    if (message.chars) return 'x'.repeat(message.chars);
    if (message.view !== undefined) return new Uint8Array([9, ...pattern(message.view), 9]).subarray(1, -1);
    if (message.dataview !== undefined) return new DataView(pattern(message.dataview).buffer);
    if (message.blob !== undefined) return new Blob([pattern(message.blob)]);
    return pattern(message.bytes);
  };

  const described = async (data) => {
    if (typeof data !== 'string') return { bytes: data.byteLength, sha256: await sha256(data) };
    if (data.length <= 200) return data;
    return { text: data.length, sha256: await sha256(new TextEncoder().encode(data)) };
  };

  const attempt = async (seen, key, action) => {
    try {
      await action();
    } catch (error) {
      seen[key] = error.name;
    }
  };

  const socketOnce = async (how, one) => {
    const started = performance.now();
    const seen = { opened: false, messages: [], order: [], error: false };
    let socket;
    try {
      const Socket = how === 'direct' ? WebSocket : mix.MixWebSocket;
      const more = how === 'direct' ? [] : [one.options];
      socket = new Socket(one.url, one.protocols ?? [], ...more);
    } catch (error) {
      return { throws: error.name };
    }
    socket.binaryType = 'arraybuffer';
    const received = [];
    const over = new Promise((resolve) => (socket.onclose = resolve));
    const open = new Promise((resolve) => socket.addEventListener('open', () => resolve(true)));
    const close = () => attempt(seen, 'closeThrows', () => socket.close(...(one.close ?? [])));
    socket.onmessage = ({ data }) => {
      seen.order.push('message');
      received.push(data);
      if (one.closeAfter === received.length) close();
    };
    socket.onerror = () => {
      seen.order.push('error');
      seen.error = true;
    };
    if (one.closeAfter === 'connecting') setTimeout(close, 100);
    if (one.sendEarly) await attempt(seen, 'sendThrows', () => socket.send(one.sendEarly));
    seen.opened = await Promise.race([open, over.then(() => false)]);
    if (how !== 'direct') {
      await socket.opened().catch((error) => Object.assign(seen, { code: error.code, phase: error.phase }));
    }
    if (seen.opened) {
      seen.order.unshift('open');
      if (one.badClose) await attempt(seen, 'closeThrows', () => socket.close(...one.badClose));
      for (const message of one.send ?? []) {
        const sent = socket.send(messageOf(message));
        sent?.catch(() => {});
      }
      if (one.closeAfter === 0) {
        await pause(one.closeDelay ?? 0);
        close();
        if (one.closeAgain) socket.close(...one.closeAgain);
      }
    }
    const event = await over;
    seen.order.push('close');
    if (one.sendLate) await attempt(seen, 'lateThrows', () => socket.send(one.sendLate));
    seen.close = { code: event.code, reason: event.reason, wasClean: event.wasClean };
    seen.ms = performance.now() - started;
    seen.messages = await Promise.all(received.map(described));
    seen.url = socket.url;
    seen.protocol = socket.protocol;
    seen.extensions = socket.extensions;
    return seen;
  };

  // ---- names ----

  const dnsOnce = async (_, one) => {
    const resolve = one.tunnel === 'cookies' ? (...given) => cookies.mixResolve(...given) : mix.mixResolve;
    const controller = new AbortController();
    const options = { ...one.options };
    if (one.abort !== undefined) options.signal = controller.signal;
    if (one.abort === 0) controller.abort();
    const timer = one.abort ? setTimeout(() => controller.abort(), one.abort) : 0;
    const beside = new AbortController();
    const others = (one.beside ?? []).map((host) => resolve(host, { signal: beside.signal }).catch(() => {}));
    const started = performance.now();
    try {
      return { value: await resolve(one.host, options), ms: performance.now() - started };
    } catch (error) {
      return { error: errorSeen(error) };
    } finally {
      clearTimeout(timer);
      beside.abort();
      await Promise.all(others);
    }
  };

  const runners = { fetch: fetchOnce, websocket: socketOnce, dns: dnsOnce };

  window.runCases = (table, cases, how) =>
    Promise.all(
      cases.map((one) => Promise.all(Array.from({ length: one.times ?? 1 }, () => runners[table](how, one)))),
    );

  /** What the two workers hold. */
  window.heldByWorkers = async () => {
    const held = {};
    for (const [name, get] of Object.entries({ main: mix.getTunnelStats, cookies: () => cookies.getStats() })) {
      const { bridge, fetch: http, stack, websocket, worker } = await get();
      held[name] = {
        requests: bridge.requests - 1,
        exchanges: bridge.exchanges + bridge.sockets + bridge.closing,
        connections: http.busy + http.dialling + http.queued,
        bodies: http.openBodies,
        tcp: stack.connections - http.idle,
        udp: stack.udpSockets,
        buffers: stack.unread + stack.unsent,
        sockets: websocket.open,
        // Each idle connection has a task that waits for its end.
        tasks: worker.tasks - http.idle,
        references: worker.references,
      };
    }
    return held;
  };
}

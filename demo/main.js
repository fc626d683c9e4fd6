/**
 * The playground. It uses smolmix.js as any page would, and nothing else of the project.
 *
 * @module
 */

/** @import {MixTunnelOptions, TunnelInfo, TunnelLog, TunnelProgress, TunnelState} from '../worker/smolmix.js' */

import { disconnectMixTunnel, getTunnelInfo, mixFetch, setupMixTunnel, tunnelEvents } from '../worker/smolmix.js';
import { makeOptionForm } from './options.js';
import { PacketPanel } from './packets.js';

/** Longest part of a response that is shown. */
const PREVIEW_BYTES = 100_000;
const LOG_LINES = 500;

const STATE_TEXT = {
  idle: 'not connected',
  connecting: 'connecting',
  ready: 'ready',
  reconnecting: 'reconnecting',
  shutting_down: 'disconnecting',
  shutdown: 'disconnected',
  failed: 'failed',
};

/** What follows on a stage of the boot. @type {Record<string, string>} */
const BOOT_WORDS = {
  'boot:manifest': 'starting Python',
  'boot:python': 'unpacking packages',
  'boot:packages': 'importing packages',
  'boot:bridge': 'worker is up',
};

/** Stops of the route that are reached with a stage. @type {Record<string, string[]>} */
const STOPS = { 'boot:bridge': ['worker'], exit: ['gateway', 'mix'], ready: ['exit', 'site'] };

/** Share of the boot in the progress bar. */
const BOOT_SHARE = 0.6;

/** @template {Element} T @param {string} id @param {new () => T} type @returns {T} */
function get(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`#${id} is missing from the page`);
  return element;
}

const stateText = get('state', HTMLElement);
const route = get('route', HTMLElement);
const connectButton = get('connect', HTMLButtonElement);
const disconnectButton = get('disconnect', HTMLButtonElement);
const progressBar = get('progress', HTMLProgressElement);
const stageText = get('stage', HTMLElement);
const setupError = get('setup-error', HTMLElement);
const infoList = get('info', HTMLElement);
const urlField = get('url', HTMLInputElement);
const methodField = get('method', HTMLSelectElement);
const bodyField = get('body', HTMLTextAreaElement);
const sendButton = get('send', HTMLButtonElement);
const abortButton = get('abort', HTMLButtonElement);
const fetchError = get('fetch-error', HTMLElement);
const responseBox = get('response', HTMLElement);
const preview = get('preview', HTMLElement);
const logList = get('log', HTMLElement);

/**
 * What the server of the page knows: options for its network, and URLs worth trying.
 *
 * @returns {Promise<{options: MixTunnelOptions, sites: string[]}>}
 */
async function loadConfig() {
  try {
    const response = await fetch('config.json');
    if (response.ok) return await response.json();
  } catch {
    // On a static server there is none; then the form starts with the defaults.
  }
  return { options: {}, sites: [] };
}

const config = await loadConfig();
const optionForm = makeOptionForm(get('option-groups', HTMLElement), config.options);
const packets = new PacketPanel(get('chart', SVGElement), get('counters', HTMLElement), {
  out: get('rate-out', HTMLElement),
  in: get('rate-in', HTMLElement),
});
urlField.value = config.sites[0] ?? '';
get('sites', HTMLDataListElement).append(...config.sites.map((site) => new Option(site, site)));

// ---- tunnel ----

get('setup', HTMLFormElement).addEventListener('submit', async (event) => {
  event.preventDefault();
  hide(setupError);
  packets.reset();
  try {
    await setupMixTunnel(optionForm.read());
    showInfo(await getTunnelInfo());
  } catch (error) {
    show(setupError, explain(error));
  }
});

disconnectButton.addEventListener('click', () => disconnectMixTunnel());

tunnelEvents.addEventListener('statechange', (event) => {
  const { state, reason } = /** @type {CustomEvent<TunnelState>} */ (event).detail;
  stateText.textContent = STATE_TEXT[state];
  stateText.dataset.state = state;
  log({ level: state === 'failed' ? 'error' : 'info', layer: 'state', message: `${STATE_TEXT[state]}: ${reason}` });
  const up = state === 'ready' || state === 'reconnecting';
  const down = state === 'idle' || state === 'shutdown' || state === 'failed';
  connectButton.disabled = !down;
  disconnectButton.disabled = down || state === 'shutting_down';
  sendButton.disabled = !up;
  optionForm.setDisabled(!down);
  if (state === 'connecting') lightUp(['page'], true);
  if (down) {
    lightUp([], true);
    progressBar.value = 0;
    stageText.textContent = state === 'failed' ? 'Nothing leaves this page now.' : reason;
    infoList.hidden = true;
    packets.reset();
  }
});

tunnelEvents.addEventListener('progress', (event) => {
  const { stage, fraction, detail } = /** @type {CustomEvent<TunnelProgress>} */ (event).detail;
  const booting = stage.startsWith('boot:');
  const words = detail ?? BOOT_WORDS[stage] ?? stage;
  progressBar.value = booting ? fraction * BOOT_SHARE : BOOT_SHARE + fraction * (1 - BOOT_SHARE);
  stageText.textContent = words;
  lightUp(STOPS[stage] ?? []);
  log({ level: 'info', layer: 'set-up', message: words });
});

tunnelEvents.addEventListener('stats', (event) => packets.update(/** @type {CustomEvent} */ (event).detail));
tunnelEvents.addEventListener('log', (event) => log(/** @type {CustomEvent<TunnelLog>} */ (event).detail));

/** @param {string[]} stops @param {boolean} [anew] */
function lightUp(stops, anew = false) {
  for (const stop of route.children) {
    const reached = stops.includes(/** @type {HTMLElement} */ (stop).dataset.stop ?? '');
    stop.classList.toggle('lit', reached || (!anew && stop.classList.contains('lit')));
  }
}

/** @param {TunnelInfo} info */
function showInfo(info) {
  const facts = [
    ['Gateway', info.gateway],
    ['reached at', info.gatewayUrl],
    ['Exit', info.exit],
    ['IPv4', info.ipv4],
    ['IPv6', info.ipv6],
    ['MTU', info.mtu],
    ['IPR', info.iprVersion && `version ${info.iprVersion}`],
    ['Crypto', info.provider],
    ['Version', info.version],
  ];
  infoList.replaceChildren(
    ...facts
      .filter(([, value]) => value)
      .flatMap(([name, value]) => {
        const term = document.createElement('dt');
        const fact = document.createElement('dd');
        term.textContent = String(name);
        fact.textContent = fact.title = String(value);
        return [term, fact];
      }),
  );
  infoList.hidden = false;
}

// ---- fetch ----

/** @type {AbortController | null} */
let underWay = null;

abortButton.addEventListener('click', () => underWay?.abort());

get('request', HTMLFormElement).addEventListener('submit', async (event) => {
  event.preventDefault();
  if (underWay || sendButton.disabled) return;
  underWay = new AbortController();
  hide(fetchError);
  responseBox.hidden = true;
  sendButton.hidden = true;
  abortButton.hidden = false;
  route.classList.add('busy');
  try {
    await fetchAndShow(underWay.signal);
  } catch (error) {
    show(fetchError, explain(error));
    log({ level: 'error', layer: 'fetch', message: explain(error) });
  } finally {
    underWay = null;
    sendButton.hidden = false;
    abortButton.hidden = true;
    route.classList.remove('busy');
  }
});

/** @param {AbortSignal} signal */
async function fetchAndShow(signal) {
  const method = methodField.value;
  const hasBody = !['GET', 'HEAD'].includes(method) && bodyField.value !== '';
  const started = performance.now();
  log({ level: 'info', layer: 'fetch', message: `${method} ${urlField.value}` });
  const response = await mixFetch(urlField.value, {
    method,
    headers: parseHeaders(get('headers', HTMLTextAreaElement).value),
    body: hasBody ? bodyField.value : null,
    redirect: /** @type {RequestRedirect} */ (get('redirect', HTMLSelectElement).value),
    timeout: Number(get('timeout', HTMLInputElement).value) * 1000,
    signal,
  });
  const headAfter = performance.now() - started;
  showHead(response);
  const body = await readBody(response, (size) => summarize(response, headAfter, performance.now() - started, size, false));
  summarize(response, headAfter, performance.now() - started, body.size, true);
  await showBody(body, response.headers.get('content-type') ?? '');
  log({ level: 'info', layer: 'fetch', message: `${response.status} ${response.url}, ${body.size} bytes` });
}

/** @param {string} text @returns {[string, string][]} */
function parseHeaders(text) {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const colon = line.indexOf(':');
      if (colon < 1) throw new TypeError(`headers: '${line}' is not of the form 'Name: value'`);
      return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
    });
}

/** @param {Response} response */
function showHead(response) {
  const rows = [...response.headers].map(([name, value]) => {
    const row = document.createElement('tr');
    const title = document.createElement('th');
    title.scope = 'row';
    title.textContent = name;
    row.append(title);
    row.insertCell().textContent = value;
    return row;
  });
  get('header-count', HTMLElement).textContent = `(${rows.length})`;
  get('response-headers', HTMLTableElement).tBodies[0]?.replaceChildren(...rows);
  preview.replaceChildren();
  responseBox.hidden = false;
}

/** @param {Response} response @param {number} headAfter @param {number} elapsed @param {number} size @param {boolean} complete */
function summarize(response, headAfter, elapsed, size, complete) {
  const status = document.createElement('b');
  status.className = response.ok ? 'status' : 'status bad';
  status.textContent = `${response.status} ${response.statusText}`;
  const facts = [
    `${size.toLocaleString('en')} bytes${complete ? '' : ' so far'}`,
    `head after ${seconds(headAfter)}`,
    complete ? `complete after ${seconds(elapsed)}` : '',
    response.redirected ? `redirected to ${response.url}` : '',
  ];
  const spans = facts.filter(Boolean).map((fact) => {
    const span = document.createElement('span');
    span.textContent = fact;
    return span;
  });
  get('response-summary', HTMLElement).replaceChildren(status, ...spans);
}

/** @param {number} milliseconds */
const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(2)} s`;

/** @param {Response} response @param {(size: number) => void} onProgress @returns {Promise<Blob>} */
async function readBody(response, onProgress) {
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const parts = [];
  let size = 0;
  if (response.body) {
    const reader = /** @type {ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>} */ (response.body.getReader());
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      parts.push(part.value);
      size += part.value.byteLength;
      onProgress(size);
    }
  }
  return new Blob(parts);
}

/** @param {Blob} body @param {string} type */
async function showBody(body, type) {
  if (body.size === 0) return;
  if (/^image\/(png|jpeg|gif|webp|avif|svg\+xml)\b/.test(type)) {
    const image = new Image();
    image.alt = 'the response';
    image.src = URL.createObjectURL(new Blob([body], { type }));
    await image.decode().catch(() => {});
    URL.revokeObjectURL(image.src);
    preview.replaceChildren(image);
    return;
  }
  const box = document.createElement('pre');
  box.tabIndex = 0;
  box.textContent = await toText(body.slice(0, PREVIEW_BYTES), type);
  if (body.size > PREVIEW_BYTES) box.textContent += `\n… ${(body.size - PREVIEW_BYTES).toLocaleString('en')} more bytes`;
  preview.replaceChildren(box);
}

/** @param {Blob} body @param {string} type */
async function toText(body, type) {
  const bytes = new Uint8Array(await body.arrayBuffer());
  if (!/^text\/|json|xml|javascript|urlencoded/.test(type) && bytes.subarray(0, 1000).some((byte) => byte < 9)) {
    return hexDump(bytes.subarray(0, 512));
  }
  const text = new TextDecoder().decode(bytes);
  try {
    if (type.includes('json')) return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    // Cut off by the preview's limit, or not JSON in spite of its name.
  }
  return text;
}

/** @param {Uint8Array} bytes */
function hexDump(bytes) {
  const lines = [];
  for (let start = 0; start < bytes.length; start += 16) {
    const row = [...bytes.subarray(start, start + 16)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const text = row.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`${start.toString(16).padStart(6, '0')}  ${hex.padEnd(47)}  ${text}`);
  }
  return lines.join('\n');
}

// ---- small things ----

/** @param {unknown} error */
function explain(error) {
  if (!(error instanceof Error)) return String(error);
  const { code } = /** @type {{code?: unknown}} */ (error.cause ?? error);
  return typeof code === 'string' ? `${error.message} [${code}]` : error.message;
}

/** @param {HTMLElement} element @param {string} text */
function show(element, text) {
  element.textContent = text;
  element.hidden = false;
}

/** @param {HTMLElement} element */
function hide(element) {
  element.hidden = true;
}

/** @param {TunnelLog} record */
function log({ level, layer, message }) {
  const atEnd = logList.scrollTop + logList.clientHeight > logList.scrollHeight - 30;
  const line = document.createElement('li');
  const time = document.createElement('time');
  const source = document.createElement('b');
  line.className = level;
  time.textContent = new Date().toLocaleTimeString('en-GB');
  source.textContent = layer;
  line.append(time, source, message);
  logList.append(line);
  while (logList.children.length > LOG_LINES) logList.firstElementChild?.remove();
  if (atEnd) logList.scrollTop = logList.scrollHeight;
}

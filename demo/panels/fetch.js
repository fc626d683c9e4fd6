/**
 * The fetch tool: any request, its response as it comes, and where the time went.
 *
 * @module
 */

/** @import {MixTimings} from '../../worker/smolmix.js' */
/** @import {Config, Panel} from '../lib/panel.js' */

import { mixFetch, responseTimings } from '../../worker/smolmix.js';
import { explain, get, make, show } from '../lib/dom.js';
import { duration, size } from '../lib/format.js';
import { shareableHeaders } from '../lib/link.js';
import { Preview } from '../lib/preview.js';
import { session } from '../lib/session.js';

/** @type {[keyof MixTimings | 'other' | 'body', string][]} */
const PHASES = [
  ['queue', 'Waiting for a connection'],
  ['resolve', 'Finding the address'],
  ['connect', 'TCP handshake'],
  ['tls', 'TLS handshake'],
  ['redirect', 'Redirects'],
  ['response', 'Server and way there and back'],
  ['other', 'In the page and the worker'],
  ['body', 'Body'],
];

/** Largest body for which the page still offers to save it. */
const SAVE_BYTES = 100e6;

/** @param {Config} config @returns {Panel} */
export function makeFetchPanel(config) {
  const url = get('url', HTMLInputElement);
  const method = get('method', HTMLSelectElement);
  const headers = get('headers', HTMLTextAreaElement);
  const body = get('body', HTMLTextAreaElement);
  const redirect = get('redirect', HTMLSelectElement);
  const timeout = get('timeout', HTMLInputElement);
  const send = get('send', HTMLButtonElement);
  const abort = get('abort', HTMLButtonElement);
  const problem = get('fetch-error', HTMLElement);
  const view = new ResponseView();

  url.value = config.sites[0] ?? '';
  get('sites', HTMLDataListElement).append(...config.sites.map((site) => new Option(site, site)));
  makeExamples(config.sites, (site) => {
    url.value = site;
    url.focus();
    url.dispatchEvent(new Event('change', { bubbles: true }));
  });

  /** @type {AbortController | null} */
  let underWay = null;
  abort.addEventListener('click', () => underWay?.abort());

  /** @param {AbortSignal} signal */
  async function run(signal) {
    const started = performance.now();
    const hasBody = !['GET', 'HEAD'].includes(method.value) && body.value !== '';
    session.log('info', 'fetch', `${method.value} ${url.value}`);
    const response = await mixFetch(url.value, {
      method: method.value,
      headers: parseHeaders(headers.value),
      body: hasBody ? body.value : null,
      redirect: /** @type {RequestRedirect} */ (redirect.value),
      timeout: Number(timeout.value) * 1000,
      signal,
    });
    await view.show(response, started);
  }

  get('request', HTMLFormElement).addEventListener('submit', async (event) => {
    event.preventDefault();
    if (underWay || !session.isUp) return;
    underWay = new AbortController();
    problem.hidden = true;
    view.clear();
    send.hidden = true;
    abort.hidden = false;
    try {
      await run(underWay.signal);
    } catch (error) {
      show(problem, explain(error));
      session.log('error', 'fetch', explain(error));
    } finally {
      underWay = null;
      const hadFocus = document.activeElement === abort;
      send.hidden = false;
      abort.hidden = true;
      if (hadFocus) send.focus();
    }
  });

  return {
    share: () => [
      ['method', method.value],
      ['url', url.value],
      ['headers', shareableHeaders(headers.value)],
      ['redirect', redirect.value === 'follow' ? '' : redirect.value],
      ['body', body.value],
    ],
    restore(fields) {
      for (const [name, field] of Object.entries({ method, url, headers, redirect, body })) {
        const value = fields.get(name);
        if (value !== null) field.value = value;
      }
      if (method.value === '') method.value = 'GET';
      if (redirect.value === '') redirect.value = 'follow';
      get('request-more', HTMLDetailsElement).open = headers.value !== '' || body.value !== '';
    },
  };
}

/** @param {string[]} sites @param {(site: string) => void} choose */
function makeExamples(sites, choose) {
  const box = get('examples', HTMLElement);
  if (sites.length === 0) return;
  box.append('Try ');
  for (const site of sites.slice(0, 6)) {
    const { pathname, protocol } = new URL(site);
    const label = `${protocol === 'https:' ? '' : 'http '}${pathname}`;
    box.append(make('button', { type: 'button', textContent: label, title: site, onclick: () => choose(site) }));
  }
  box.hidden = false;
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

/** One response: summary, phases, headers, body. */
class ResponseView {
  #box = get('response', HTMLElement);
  #summary = get('response-summary', HTMLElement);
  #bar = get('body-progress', HTMLProgressElement);
  #phases = get('phases', HTMLElement);
  #previewHead = get('preview-head', HTMLElement);
  #save = get('save', HTMLAnchorElement);

  clear() {
    this.#box.hidden = true;
    this.#summary.replaceChildren();
    this.#save.hidden = true;
    if (this.#save.href) URL.revokeObjectURL(this.#save.href);
    this.#save.removeAttribute('href');
  }

  /** @param {Response} response @param {number} started when the request was made, as of `performance.now` */
  async show(response, started) {
    const headAfter = performance.now() - started;
    const timings = responseTimings(response) ?? {};
    showHeaders(response);
    this.#showPhases(timings, headAfter, null);
    this.#summarize(response, 0, headAfter, null);
    this.#previewHead.hidden = true;
    const length = Number(response.headers.get('content-length'));
    this.#bar.hidden = !(length > 0) || !response.body;
    this.#bar.max = Math.max(length, 1);
    this.#bar.value = 0;
    const preview = new Preview(get('preview', HTMLElement), response.headers.get('content-type') ?? '');
    this.#box.hidden = false;
    if (response.body) {
      const reader = /** @type {ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>} */ (response.body.getReader());
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        preview.add(part.value);
        this.#previewHead.hidden = false;
        this.#bar.value = preview.size;
        this.#summarize(response, preview.size, headAfter, null);
      }
    }
    const total = performance.now() - started;
    this.#bar.hidden = true;
    this.#summarize(response, preview.size, headAfter, total);
    this.#showPhases(timings, headAfter, total);
    session.log('info', 'fetch', `${response.status} ${response.url}, ${size(preview.size)} in ${duration(total)}`);
    const blob = await preview.finish();
    if (blob.size > 0 && blob.size < SAVE_BYTES) {
      this.#save.href = URL.createObjectURL(blob);
      this.#save.download = new URL(response.url).pathname.split('/').pop() || 'response';
      this.#save.hidden = false;
    }
  }

  /** @param {Response} response @param {number} bytes @param {number} headAfter @param {number | null} total */
  #summarize(response, bytes, headAfter, total) {
    const facts = [
      total === null ? `${size(bytes)} so far` : size(bytes),
      `head after ${duration(headAfter)}`,
      total === null ? '' : `complete after ${duration(total)}`,
      response.redirected ? `redirected to ${response.url}` : '',
    ];
    this.#summary.replaceChildren(
      make('b', {
        className: response.ok ? 'status' : 'status bad',
        textContent: `${response.status} ${response.statusText}`.trim(),
      }),
      ...facts.filter(Boolean).map((fact) => make('span', { textContent: fact })),
    );
  }

  /** @param {MixTimings} timings @param {number} headAfter @param {number | null} total */
  #showPhases(timings, headAfter, total) {
    const known = Object.values(timings).reduce((sum, time) => sum + time, 0);
    /** @type {Record<string, number | undefined>} */
    const times = { ...timings, other: Math.max(headAfter - known, 0), body: total === null ? undefined : total - headAfter };
    const whole = Math.max(total ?? headAfter, 1);
    const rows = make('dl');
    let at = 0;
    for (const [name, words] of PHASES) {
      const time = times[name];
      if (time === undefined) continue;
      const bar = make('span', { className: `bar ${name}` });
      bar.style.marginLeft = `${(at / whole) * 100}%`;
      bar.style.width = `${Math.max((time / whole) * 100, 0.3)}%`;
      at += time;
      rows.append(
        make('dt', { textContent: words }),
        make('dd', { className: 'track', ariaHidden: 'true' }, bar),
        make('dd', { className: 'time', textContent: duration(time) }),
      );
    }
    this.#phases.replaceChildren(rows);
    this.#phases.hidden = false;
  }
}

/** @param {Response} response */
function showHeaders(response) {
  const rows = [...response.headers].map(([name, value]) => {
    const row = make('tr', {}, make('th', { scope: 'row', textContent: name }));
    row.insertCell().textContent = value;
    return row;
  });
  get('header-count', HTMLElement).textContent = `(${rows.length})`;
  get('response-headers', HTMLTableElement).tBodies[0]?.replaceChildren(...rows);
}

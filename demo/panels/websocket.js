/**
 * The WebSocket tool: a conversation with any server; the round trip of an echo is measured.
 *
 * @module
 */

/** @import {Config, Panel} from '../lib/panel.js' */

import { MixWebSocket } from '../../worker/smolmix.js';
import { Chat } from '../lib/chat.js';
import { explain, get, show } from '../lib/dom.js';
import { duration, size } from '../lib/format.js';
import { hexDump } from '../lib/preview.js';
import { session } from '../lib/session.js';

const LONGEST_SHOWN = 4000;

/** @param {Config} config @returns {Panel} */
export function makeWebSocketPanel(config) {
  const url = get('ws-url', HTMLInputElement);
  const protocols = get('ws-protocols', HTMLInputElement);
  const open = get('ws-open', HTMLButtonElement);
  const close = get('ws-close', HTMLButtonElement);
  const text = get('ws-text', HTMLInputElement);
  const binary = get('ws-binary', HTMLInputElement);
  const send = get('ws-send', HTMLButtonElement);
  const status = get('ws-state', HTMLElement);
  const problem = get('ws-error', HTMLElement);
  const chat = new Chat(get('ws-messages', HTMLElement), 'Connect, and write something: an echo server sends it back.');

  /** @type {MixWebSocket | null} */
  let socket = null;
  /** When each text was sent that has not come back yet. @type {[string, number][]} */
  let waiting = [];

  url.value = config.sockets[0] ?? '';
  get('ws-sites', HTMLDataListElement).append(...config.sockets.map((site) => new Option(site, site)));

  /** @param {'closed' | 'connecting' | 'open' | 'closing'} state @param {string} words */
  function showState(state, words) {
    status.textContent = words;
    open.hidden = state !== 'closed';
    close.hidden = state === 'closed';
    close.disabled = state === 'closing';
    close.textContent = state === 'connecting' ? 'Cancel' : 'Close';
    send.disabled = text.disabled = state !== 'open';
    url.readOnly = protocols.readOnly = state !== 'closed';
    session.log('info', 'websocket', words);
  }

  /** @param {string} key @returns {string} the round trip, where this is the echo of what was sent */
  function roundTrip(key) {
    const at = waiting.findIndex(([sent]) => sent === key);
    const found = waiting[at];
    if (!found) return '';
    waiting = waiting.slice(at + 1);
    return `came back after ${duration(performance.now() - found[1])}`;
  }

  /** @param {MixWebSocket} own */
  function listen(own) {
    const started = performance.now();
    own.onopen = () => {
      const protocol = own.protocol ? `, subprotocol ${own.protocol}` : '';
      showState('open', `Open after ${duration(performance.now() - started)}${protocol}.`);
      text.focus();
    };
    own.onmessage = ({ data }) => {
      if (typeof data === 'string') chat.add('in', shorten(data), roundTrip(data));
      else chat.add('in', shorten(hexDump(new Uint8Array(data))), size(data.byteLength), roundTrip(keyOf(data)));
    };
    own.onclose = ({ code, reason, wasClean }) => {
      if (socket !== own) return;
      socket = null;
      const why = reason ? `, “${reason}”` : '';
      showState('closed', `Closed with code ${code}${why}${wasClean ? '' : ', not cleanly'}.`);
      chat.note(`closed with code ${code}${why}`);
    };
    own.opened().catch((error) => {
      show(problem, explain(error));
      session.log('error', 'websocket', explain(error));
    });
  }

  get('ws-form', HTMLFormElement).addEventListener('submit', (event) => {
    event.preventDefault();
    if (socket || !session.isUp) return;
    problem.hidden = true;
    waiting = [];
    try {
      const wanted = protocols.value.split(/[\s,]+/).filter(Boolean);
      socket = new MixWebSocket(url.value, wanted);
    } catch (error) {
      show(problem, explain(error));
      return;
    }
    showState('connecting', `Connecting to ${socket.url}`);
    chat.note(`connecting to ${socket.url}`);
    listen(socket);
  });

  close.addEventListener('click', () => {
    if (!socket) return;
    if (socket.readyState === MixWebSocket.OPEN) showState('closing', 'Closing: the server is told.');
    socket.close(1000, 'done').catch(() => {});
  });

  get('ws-send-form', HTMLFormElement).addEventListener('submit', async (event) => {
    event.preventDefault();
    const own = socket;
    if (!own || text.value === '') return;
    const words = text.value;
    const bytes = binary.checked ? new TextEncoder().encode(words) : null;
    text.value = '';
    waiting.push([bytes ? keyOf(bytes.buffer) : words, performance.now()]);
    chat.add('out', bytes ? hexDump(bytes) : words);
    try {
      await own.send(bytes ?? words);
    } catch (error) {
      show(problem, explain(error));
    }
  });

  return {
    share: () => [
      ['url', url.value],
      ['protocols', protocols.value],
    ],
    restore(fields) {
      url.value = fields.get('url') ?? url.value;
      protocols.value = fields.get('protocols') ?? protocols.value;
    },
  };
}

/** @param {ArrayBufferLike} data */
const keyOf = (data) => `bytes ${[...new Uint8Array(data).subarray(0, 4096)]}`;

/** @param {string} words */
const shorten = (words) => (words.length > LONGEST_SHOWN ? `${words.slice(0, LONGEST_SHOWN)}…` : words);

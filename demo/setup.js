/**
 * The card of the tunnel: set-up with its stages and their times, what it is made of, and the options.
 *
 * @module
 */

/** @import {TunnelProgress} from '../worker/smolmix.js' */
/** @import {OptionForm} from './options.js' */

import { tunnelEvents } from '../worker/smolmix.js';
import { explain, get, make, show, terms } from './lib/dom.js';
import { duration } from './lib/format.js';
import { STATE_WORDS, session } from './lib/session.js';

/**
 * What goes on until a stage is reached. The events name a stage when it is over (boot) or when it begins (tunnel).
 *
 * @type {[string, string][]}
 */
const STAGES = [
  ['manifest', 'List of files'],
  ['files', 'Files'],
  ['python', 'Python'],
  ['packages', 'Cryptography'],
  ['bridge', 'Page and worker'],
  ['keys', 'Keys'],
  ['directory', 'Directory and topology'],
  ['gateway', 'Entry gateway'],
  ['exit', 'Exit'],
];

/** What begins when a stage of the boot is over. @type {Record<string, string>} */
const NEXT = {
  'boot:manifest': 'files',
  'boot:files': 'files',
  'boot:python': 'packages',
  'boot:packages': 'bridge',
  'boot:bridge': 'keys',
};

/** Fraction at which all files are there, and Python starts. */
const FILES_END = 0.6;

/** Share of the boot in the progress bar. */
const BOOT_SHARE = 0.6;

/** The list of stages: one is under way, those before it are done and have taken a time. */
class Stages {
  #list = get('stages', HTMLElement);
  #box = get('stages-box', HTMLDetailsElement);
  /** @type {Map<string, HTMLLIElement>} */
  #rows = new Map();
  #now = '';
  #since = 0;
  #started = 0;

  begin() {
    this.#rows.clear();
    this.#list.replaceChildren(
      ...STAGES.map(([name, words]) => {
        const row = make('li', {}, make('span', { textContent: words }), make('span'));
        this.#rows.set(name, row);
        return row;
      }),
    );
    this.#box.hidden = false;
    this.#box.open = true;
    this.#now = '';
    this.#started = performance.now();
    this.enter('manifest');
  }

  /** @param {string} name */
  enter(name) {
    if (name === this.#now) return;
    const before = this.#rows.get(this.#now);
    const time = performance.now();
    if (before) {
      before.className = 'done';
      before.lastElementChild?.append(duration(time - this.#since));
    }
    this.#now = name;
    this.#since = time;
    const row = this.#rows.get(name);
    if (row) row.className = 'now';
  }

  /** @returns {number} milliseconds from the beginning */
  end() {
    this.enter('');
    this.#box.open = false;
    return performance.now() - this.#started;
  }

  fail() {
    const row = this.#rows.get(this.#now);
    if (row) row.className = 'broken';
    this.#now = '';
  }

  clear() {
    this.#box.hidden = true;
  }
}

/**
 * @param {OptionForm} optionForm
 * @returns {{setUp: () => Promise<void>}}
 */
export function makeSetup(optionForm) {
  const form = get('setup', HTMLFormElement);
  const connect = get('connect', HTMLButtonElement);
  const disconnect = get('disconnect', HTMLButtonElement);
  const bar = get('progress', HTMLProgressElement);
  const stage = get('stage', HTMLElement);
  const problem = get('setup-error', HTMLElement);
  const facts = get('info', HTMLElement);
  const pill = get('state', HTMLElement);
  const stages = new Stages();

  async function setUp() {
    if (!session.isDown) return;
    problem.hidden = true;
    try {
      await session.setUp(optionForm.read());
    } catch (error) {
      show(problem, explain(error));
    }
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    setUp();
  });
  disconnect.addEventListener('click', () => session.disconnect());

  tunnelEvents.addEventListener('progress', (event) => {
    const { stage: name, fraction, detail } = /** @type {CustomEvent<TunnelProgress>} */ (event).detail;
    const files = name.startsWith('boot:') && NEXT[name] === 'files';
    const current = files && fraction >= FILES_END ? 'python' : (NEXT[name] ?? name);
    bar.value = name.startsWith('boot:') ? fraction * BOOT_SHARE : BOOT_SHARE + fraction * (1 - BOOT_SHARE);
    const words = detail ?? STAGES.find(([known]) => known === current)?.[1] ?? name;
    if (words !== stage.textContent) session.log('info', 'set-up', words);
    stage.textContent = words;
    if (name !== 'ready') stages.enter(current);
  });

  /** @type {string} */
  let before = '';
  session.onState(() => {
    const { state, reason, isDown } = session;
    pill.textContent = STATE_WORDS[state];
    pill.dataset.state = state;
    connect.disabled = !isDown;
    connect.textContent = state === 'failed' ? 'Set up again' : 'Set up';
    disconnect.disabled = isDown || state === 'shutting_down';
    optionForm.setDisabled(!isDown);
    bar.hidden = state !== 'connecting';
    if (state === 'connecting') {
      bar.value = 0;
      stages.begin();
    } else if (state === 'ready' && before === 'connecting') {
      stage.textContent = `Ready in ${duration(stages.end())}.`;
    } else if (state === 'ready' && before === 'reconnecting') {
      stage.textContent = 'Ready again.';
    } else if (state === 'reconnecting') {
      stage.textContent = reason;
    } else if (state === 'failed') {
      stages.fail();
      stage.textContent = 'Nothing leaves this page now.';
      if (before !== 'connecting') show(problem, reason);
    } else if (state === 'shutdown') {
      stages.clear();
      problem.hidden = true;
      stage.textContent = 'Disconnected. Nothing leaves this page now.';
    }
    if (isDown) facts.hidden = true;
    before = state;
  });

  session.addEventListener('info', () => {
    const info = session.info;
    if (!info) return;
    facts.replaceChildren(
      ...terms([
        ['Gateway', info.gateway],
        ['reached at', info.gatewayUrl],
        ['Exit', info.exit],
        ['IPv4', info.ipv4],
        ['IPv6', info.ipv6],
        ['MTU', info.mtu && `${info.mtu} bytes`],
        ['IPR', info.iprVersion && `version ${info.iprVersion}`],
        ['Crypto', info.provider],
        ['Version', info.version],
      ]),
    );
    facts.hidden = false;
  });
  return { setUp };
}

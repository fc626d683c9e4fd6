/**
 * The DNS tool: all addresses of a name, asked through the mixnet.
 *
 * @module
 */

/** @import {MixAddress} from '../../worker/smolmix.js' */
/** @import {Config, Panel} from '../lib/panel.js' */

import { mixResolve } from '../../worker/smolmix.js';
import { explain, get, make, show } from '../lib/dom.js';
import { duration } from '../lib/format.js';
import { session } from '../lib/session.js';

/** @param {Config} config @returns {Panel} */
export function makeDnsPanel(config) {
  const name = get('dns-name', HTMLInputElement);
  const family = get('dns-family', HTMLSelectElement);
  const send = get('dns-send', HTMLButtonElement);
  const abort = get('dns-abort', HTMLButtonElement);
  const status = get('dns-state', HTMLElement);
  const problem = get('dns-error', HTMLElement);
  const table = get('dns-answers', HTMLTableElement);

  name.value = config.names[0] ?? '';
  get('dns-names', HTMLDataListElement).append(...config.names.map((one) => new Option(one, one)));

  /** @type {AbortController | null} */
  let underWay = null;
  abort.addEventListener('click', () => underWay?.abort());

  /** @param {string} host @param {AbortSignal} signal */
  async function run(host, signal) {
    const started = performance.now();
    const asked = /** @type {0 | 4 | 6} */ (Number(family.value));
    const found = await mixResolve(host, { all: true, family: asked, signal });
    const took = duration(performance.now() - started);
    status.textContent = `${found.length} ${found.length === 1 ? 'address' : 'addresses'} of ${host} after ${took}.`;
    session.log('info', 'dns', `${host}: ${found.map((one) => one.address).join(', ')} in ${took}`);
    table.tBodies[0]?.replaceChildren(...found.map(makeRow));
    table.hidden = false;
  }

  get('dns-form', HTMLFormElement).addEventListener('submit', async (event) => {
    event.preventDefault();
    if (underWay || !session.isUp) return;
    underWay = new AbortController();
    problem.hidden = true;
    table.hidden = true;
    send.hidden = true;
    abort.hidden = false;
    status.textContent = 'Asking the resolver through the mixnet.';
    try {
      await run(name.value.trim(), underWay.signal);
    } catch (error) {
      status.textContent = 'No answer to show.';
      show(problem, explain(error));
      session.log('error', 'dns', explain(error));
    } finally {
      underWay = null;
      send.hidden = false;
      abort.hidden = true;
    }
  });

  return {
    share: () => [
      ['name', name.value],
      ['family', family.value === '0' ? '' : family.value],
    ],
    restore(fields) {
      name.value = fields.get('name') ?? name.value;
      family.value = fields.get('family') ?? family.value;
      if (family.value === '') family.value = '0';
    },
  };
}

/** @param {MixAddress} found */
function makeRow({ address, family, ttl }) {
  const kept = ttl === null ? 'it is an address' : `${ttl.toLocaleString('en')} s`;
  return make(
    'tr',
    {},
    make('td', { textContent: address }),
    make('td', { textContent: `IPv${family}` }),
    make('td', { className: 'number', textContent: kept }),
  );
}

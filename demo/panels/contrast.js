/**
 * The contrast: one request in the clear and through the mixnet, and what each party could see of it.
 *
 * What stands in the tables was observed: the destination tells the address that it saw, and the nodes of a local
 * network tell who is connected to them. A party "knows" something if it is among what it observed.
 *
 * @module
 */

/** @import {Config, Panel} from '../lib/panel.js' */
/** @import {NodeStatus} from '../route/observe.js' */

import { mixFetch, mixResolve } from '../../worker/smolmix.js';
import { explain, get, make, show } from '../lib/dom.js';
import { duration } from '../lib/format.js';
import { session } from '../lib/session.js';
import { readStatus, rolesOf } from '../route/observe.js';

const PATH = '/whoami';

/** What the destination answers. @typedef {{address: string, headers: string[]}} Seen */

/** @typedef {{seen: Seen, took: number}} Side */

/** A cell: whether the party knows, and what it observed. @typedef {[boolean, string]} Fact */

/** @typedef {{party: string, facts: [Fact, Fact, Fact]}} Row */

/** @param {Config} config @returns {Panel} */
export function makeContrastPanel(config) {
  const url = get('contrast-url', HTMLSelectElement);
  const send = get('contrast-send', HTMLButtonElement);
  const status = get('contrast-state', HTMLElement);
  const problem = get('contrast-error', HTMLElement);
  const result = get('contrast-result', HTMLElement);
  const origins = Object.keys(config.clear).slice(0, 2);

  url.append(...origins.map((origin) => new Option(origin + PATH)));
  if (origins.length === 0) {
    get('contrast-form', HTMLFormElement).hidden = true;
    status.textContent =
      'Not with this network: the policy of this page lets it talk to the directory and to gateways only, so ' +
      'there is nobody to ask in the clear. “smolmix-web demo” without --network brings a test internet for that.';
  } else {
    status.textContent = 'Nothing goes around the mixnet before you press the button.';
  }

  async function run() {
    const target = new URL(url.value);
    const clear = await timed(async () => {
      const way = config.clear[target.origin] + target.pathname;
      return (await fetch(way, { cache: 'no-store', credentials: 'omit' })).json();
    });
    status.textContent = 'The clear answer is there; the other one is on its way through the mixnet.';
    const hidden = await timed(async () => (await mixFetch(target)).json());
    const nodes = config.status ? (await readStatus(config.status)).nodes : null;
    const address = await mixResolve(target.hostname, { family: 4 });
    const destination = `${address}:${target.port || 80}`;
    result.replaceChildren(
      make(
        'div',
        { className: 'sides' },
        side('clear', 'In the clear', clear),
        side('hidden-way', 'Through the mixnet', hidden),
      ),
      table('Who saw what in the clear', clearRows(clear.seen, config.clear[target.origin] ?? '')),
      ...(nodes ? knowledge(nodes, clear.seen.address, hidden.seen, destination) : [withoutNodes()]),
      headerLists(clear.seen, hidden.seen),
    );
    result.hidden = false;
    status.textContent =
      `The destination saw ${clear.seen.address} in the clear and ${hidden.seen.address} through the mixnet.`;
    session.log('info', 'contrast', status.textContent);
  }

  get('contrast-form', HTMLFormElement).addEventListener('submit', async (event) => {
    event.preventDefault();
    if (!session.isUp || send.disabled) return;
    problem.hidden = true;
    send.disabled = true;
    status.textContent = 'Asking in the clear.';
    try {
      await run();
    } catch (error) {
      status.textContent = 'There is nothing to compare.';
      show(problem, explain(error));
      session.log('error', 'contrast', explain(error));
    } finally {
      send.disabled = !session.isUp;
    }
  });

  return {
    share: () => [['url', url.value]],
    restore(fields) {
      const wanted = fields.get('url');
      if ([...url.options].some((option) => option.value === wanted)) url.value = wanted ?? '';
    },
  };
}

/** @param {() => Promise<Seen>} ask @returns {Promise<Side>} */
async function timed(ask) {
  const started = performance.now();
  return { seen: await ask(), took: performance.now() - started };
}

/** @param {string} name @param {string} title @param {Side} answer */
function side(name, title, { seen, took }) {
  return make(
    'section',
    { className: `side ${name}` },
    make('h3', { textContent: title }),
    make('p', { textContent: 'The destination saw a request from' }),
    make('p', { className: 'seen', textContent: seen.address }),
    make('p', { textContent: `${seen.headers.length} headers, answered after ${duration(took)}` }),
  );
}

/** @param {Seen} seen @param {string} way @returns {Row[]} */
function clearRows(seen, way) {
  const { host } = new URL(way);
  return [
    {
      party: 'Your network',
      facts: [
        [true, seen.address],
        [true, host],
        [true, 'every byte: it was http'],
      ],
    },
    {
      party: 'Destination',
      facts: [
        [true, seen.address],
        [true, 'itself'],
        [true, 'every byte'],
      ],
    },
  ];
}

/**
 * @param {Record<string, NodeStatus>} nodes
 * @param {string} you our address, as the destination saw it in the clear
 * @param {Seen} seen
 * @param {string} destination address and port
 * @returns {Node[]}
 */
function knowledge(nodes, you, seen, destination) {
  const roles = rolesOf(nodes, session.info);
  const gateway = roles.gateway ? nodes[roles.gateway] : undefined;
  const exit = roles.exit ? nodes[roles.exit] : undefined;
  const mixes = roles.layers.flatMap((name) => nodes[name] ?? []);
  const sealed = /** @type {Fact} */ ([false, 'packets of one size, encrypted in layers']);

  /** @param {NodeStatus[]} some @returns {Fact} */
  const knowsYou = (some) => {
    const peers = unique(some.flatMap((node) => [...(node.sees?.clients ?? []), ...(node.sees?.nodes ?? [])]));
    const knows = some.some((node) => node.sees?.clients?.includes(you)) || peers.includes(you);
    return [knows, knows ? you : `connected to ${peers.join(', ') || 'nobody'}`];
  };
  /** @param {NodeStatus[]} some @returns {Fact} */
  const knowsDestination = (some) => {
    const open = some.flatMap((node) => node.sees?.destinations ?? []);
    const next = unique(some.flatMap((node) => node.sees?.next ?? []));
    if (open.includes(destination)) return [true, destination];
    return [false, `sends to ${next.join(', ') || 'nobody'}`];
  };

  /** @type {Row[]} */
  const rows = [
    { party: 'Your network', facts: [[true, you], [false, `a WebSocket to ${gatewayHost()}`], sealed] },
  ];
  if (gateway) rows.push({ party: 'Entry gateway', facts: [knowsYou([gateway]), knowsDestination([gateway]), sealed] });
  rows.push({ party: `${mixes.length} mix nodes`, facts: [knowsYou(mixes), knowsDestination(mixes), sealed] });
  if (exit) {
    rows.push({
      party: 'Exit',
      facts: [knowsYou([exit]), knowsDestination([exit]), [true, 'every byte: it was http. Of https only ciphertext']],
    });
  }
  rows.push({
    party: 'Destination',
    facts: [
      [seen.address === you, seen.address],
      [true, 'itself'],
      [true, 'every byte'],
    ],
  });
  /** @type {Node[]} */
  const parts = [table('Who saw what through the mixnet', rows)];
  const addresses = new Set(Object.values(nodes).map((node) => node.ip));
  if (addresses.size === 1) {
    parts.push(
      make('p', {
        className: 'notice warm',
        textContent:
          'This system gave all nodes the same address as this browser, so addresses tell nobody apart here. On ' +
          'Linux each node has its own.',
      }),
    );
  }
  return parts;
}

function withoutNodes() {
  return make('p', {
    className: 'notice',
    textContent: 'The nodes of this network do not tell what they see, so only the destination could be asked.',
  });
}

const gatewayHost = () => (session.info?.gatewayUrl ? new URL(session.info.gatewayUrl).hostname : 'the gateway');

/** @param {string[]} all */
const unique = (all) => [...new Set(all)].sort();

const COLUMNS = ['Your address', 'Destination', 'Content'];

/** @param {string} title @param {Row[]} rows */
function table(title, rows) {
  const head = ['Party', ...COLUMNS].map((text) => make('th', { scope: 'col', textContent: text }));
  const body = rows.map(({ party, facts }) =>
    make(
      'tr',
      {},
      make('th', { scope: 'row', textContent: party }),
      ...facts.map(([knows, what], at) => {
        const answer = make('span', { className: knows ? 'knows' : 'blind', textContent: knows ? 'Seen' : 'Not seen' });
        const cell = make('td', {}, answer, ': ', ...withAddresses(what));
        cell.dataset.label = COLUMNS[at] ?? '';
        return cell;
      }),
    ),
  );
  return make(
    'table',
    { className: 'knowledge' },
    make('caption', { textContent: title }),
    make('thead', {}, make('tr', {}, ...head)),
    make('tbody', {}, ...body),
  );
}

/** A text with its addresses in the type of code. @param {string} text */
function withAddresses(text) {
  const parts = text.split(/(\d+\.\d+\.\d+\.\d+(?::\d+)?)/);
  return parts.map((part, at) => (at % 2 === 1 ? make('code', { textContent: part }) : part));
}

/** @param {Seen} clear @param {Seen} hidden */
function headerLists(clear, hidden) {
  /** @param {string} title @param {Seen} seen */
  const list = (title, seen) =>
    make(
      'section',
      {},
      make('h3', { textContent: title }),
      make('pre', { textContent: seen.headers.join('\n'), tabIndex: 0 }),
    );
  return make(
    'details',
    {},
    make('summary', { textContent: 'Headers that the destination got' }),
    make('div', { className: 'sides' }, list('In the clear', clear), list('Through the mixnet', hidden)),
  );
}

/**
 * The card of the route: what moves on the map, the table beside it, and what is known of each stop.
 *
 * Once a second the tunnel tells its counters, and a local network those of its nodes. What both have counted since
 * the second before is what moves.
 *
 * @module
 */

/** @import {TunnelProgress, TunnelStats} from '../../worker/smolmix.js' */
/** @import {Config} from '../lib/panel.js' */
/** @import {Kind} from './flow.js' */
/** @import {Stop} from './map.js' */
/** @import {NodeStatus, Totals} from './observe.js' */

import { tunnelEvents } from '../../worker/smolmix.js';
import { get, make, terms } from '../lib/dom.js';
import { rate, whole } from '../lib/format.js';
import { session } from '../lib/session.js';
import { STOPS } from './layout.js';
import { RouteMap } from './map.js';
import { nodeTotals, ownTotals, readStatus, rolesOf } from './observe.js';

/** Links as the table calls them, in the order of a packet's way. @type {[string, string][]} */
const LINKS = [
  ['page>gateway', 'You to gateway'],
  ['gateway>layer1', 'Gateway to mix 1'],
  ['layer1>layer2', 'Mix 1 to mix 2'],
  ['layer2>layer3', 'Mix 2 to mix 3'],
  ['layer3>exit', 'Mix 3 to exit'],
  ['exit>site', 'Exit to site (IP packets)'],
  ['site>exit', 'Site to exit (IP packets)'],
  ['exit>layer1', 'Exit back to mix 1'],
  ['layer3>gateway', 'Mix 3 to gateway'],
  ['gateway>page', 'Gateway to you'],
];

/** What a stop does, sees and does not see. @type {Record<Stop, string>} */
const STORIES = {
  page: 'Your page and its worker. TLS ends here; every packet is wrapped in layers before it leaves.',
  gateway: 'Knows your address and how many packets you exchange. It sees neither where they go nor what is in them, and cannot tell cover from data.',
  layer1: 'Knows the gateways before it and the mixes after it. It takes a layer off each packet and holds it for a random while.',
  layer2: 'Knows mixes only, on both sides: neither you nor a destination.',
  layer3: 'Knows the mixes before it, and gateways and exits after it. Packets of everybody leave it in another order.',
  exit: 'Knows where you connect to, and of http all of the content. It does not know who you are: answers go back by reply SURBs.',
  site: 'Sees a visitor with the address of the exit.',
};

/** Seconds without an answer of the status after which the map says so. */
const STATUS_PATIENCE = 5;

/** @param {Config} config */
export function makeRoute(config) {
  const note = get('route-note', HTMLElement);
  const detail = get('node-detail', HTMLElement);
  const rows = get('link-rows', HTMLElement);
  /** @type {Stop | null} */
  let chosen = null;
  const map = new RouteMap(get('map', HTMLElement), (stop) => {
    chosen = chosen === stop ? null : stop;
    showDetail();
  });

  /** @type {TunnelStats} */
  let stats = {};
  /** @type {Record<string, NodeStatus> | null} */
  let nodes = null;
  let misses = 0;
  /** Counts at the beginning of this tunnel, and at the last look. @type {{first: Totals, last: Totals, own: Record<string, number>, at: number, life: number}} */
  let seen = { first: {}, last: {}, own: {}, at: 0, life: 0 };

  /** @type {Map<string, [HTMLElement, HTMLElement]>} */
  const cells = new Map();
  for (const [link, words] of LINKS) {
    const now = make('td', { className: 'number', textContent: '–' });
    const total = make('td', { className: 'number', textContent: '–' });
    cells.set(link, [now, total]);
    rows.append(make('tr', {}, make('td', { textContent: words }), now, total));
  }

  /** A look at all counters: what is new since the last one moves. */
  function look() {
    const totals = { ...ownTotals(stats), ...(nodes ? nodeTotals(nodes, session.info) : {}) };
    const now = performance.now();
    const own = ownKinds(stats);
    if (seen.life !== session.life) {
      seen = { first: totals, last: totals, own, at: now, life: session.life };
      return;
    }
    const seconds = Math.max((now - seen.at) / 1000, 0.2);
    /** @type {Record<string, number>} */
    const rates = {};
    /** @type {[string, number, Kind][]} */
    const counts = [];
    for (const [link, total] of Object.entries(totals)) {
      if (!(link in seen.first)) seen.first[link] = total;
      const fresh = Math.max(total - (seen.last[link] ?? total), 0);
      rates[link] = fresh / seconds;
      const real = link in own ? Math.min(Math.max((own[link] ?? 0) - (seen.own[link] ?? 0), 0), fresh) : null;
      if (real === null) counts.push([link, fresh, 'any']);
      else counts.push([link, real, 'own'], [link, fresh - real, 'other']);
      const [rateCell, totalCell] = cells.get(link) ?? [];
      if (rateCell) rateCell.textContent = rate(rates[link] ?? 0);
      if (totalCell) totalCell.textContent = whole(total - (seen.first[link] ?? total));
    }
    seen = { ...seen, last: totals, own, at: now };
    map.rate(rates);
    tell(map.move(counts));
  }

  /** @param {number} each packets that a dot stands for */
  function tell(each) {
    const dots = each === 1 ? 'Each dot is a packet' : `Each dot stands for ${each} packets`;
    note.textContent = nodes
      ? `${dots}, as the nodes counted them. Hollow on your own link: cover and acknowledgements, which only you can tell.`
      : `${dots}, as this page counted them. The nodes of this network do not tell their counters.`;
  }

  async function readNodes() {
    if (!config.status) return;
    try {
      nodes = (await readStatus(config.status)).nodes;
      misses = 0;
    } catch {
      misses += 1;
      if (misses >= STATUS_PATIENCE) nodes = null;
    }
    const parts = nodes ? partsOf(nodes) : {};
    const isDown = (/** @type {Stop} */ stop) => nodes?.[parts[stop] ?? '']?.running === false;
    map.lose(STOPS.filter(isDown));
  }

  function showDetail() {
    map.mark(chosen);
    detail.hidden = chosen === null;
    if (chosen === null) return;
    const facts = factsOf(chosen, nodes);
    const list = make('dl', { className: 'facts' }, ...terms(facts));
    const title = make('h3', { textContent: map.nameOf(chosen) });
    detail.replaceChildren(title, make('p', { textContent: STORIES[chosen] }), list);
  }

  tunnelEvents.addEventListener('stats', async (event) => {
    stats = /** @type {CustomEvent<TunnelStats>} */ (event).detail;
    if (document.hidden) return;
    await readNodes();
    if (!session.isUp) return;
    look();
    if (chosen !== null) showDetail();
  });

  tunnelEvents.addEventListener('progress', (event) => {
    const { stage } = /** @type {CustomEvent<TunnelProgress>} */ (event).detail;
    /** @type {Record<string, Stop[]>} */
    const reached = { gateway: ['page'], exit: ['page', 'gateway', 'layer1', 'layer2', 'layer3'] };
    if (reached[stage]) map.light(reached[stage]);
  });

  session.onState(() => {
    const { state } = session;
    if (state === 'ready') {
      map.light(['page', 'gateway', 'layer1', 'layer2', 'layer3', 'exit', 'site']);
    } else if (state === 'reconnecting') {
      map.light(['page']);
      note.textContent = `Looking for the way again: ${session.reason}.`;
    } else if (state === 'connecting') {
      map.light(['page']);
      note.textContent = 'Stops light up as they are reached.';
    } else if (session.isDown) {
      map.light([]);
      map.lose([]);
      map.rate({});
      map.flow.stop();
      stats = {};
      note.textContent = 'The way of every packet, once the tunnel is up.';
      for (const [now] of cells.values()) now.textContent = '–';
    }
    if (chosen !== null) showDetail();
  });
  session.addEventListener('info', () => showDetail());
  return map;
}

/** Which node stands at which stop. @param {Record<string, NodeStatus>} nodes @returns {Partial<Record<Stop, string>>} */
function partsOf(nodes) {
  const { gateway, layers, exit } = rolesOf(nodes, session.info);
  const [layer1, layer2, layer3] = layers;
  return { gateway: gateway ?? '', layer1, layer2, layer3, exit: exit ?? '' };
}

/** Of the packets on our own link, those that carry data of the page. @param {TunnelStats} stats @returns {Record<string, number>} */
function ownKinds(stats) {
  return { 'page>gateway': stats.nym?.realSent ?? 0, 'gateway>page': stats.nym?.fragmentsReceived ?? 0 };
}

/** @param {Stop} stop @param {Record<string, NodeStatus> | null} nodes @returns {[string, unknown][]} */
function factsOf(stop, nodes) {
  const info = session.info;
  if (stop === 'page') {
    return [
      ['Nym address', info?.address],
      ['Address at the exit', info?.ipv4],
    ];
  }
  if (stop === 'site') return [];
  const name = nodes && partsOf(nodes)[stop];
  const node = name ? nodes?.[name] : undefined;
  if (!node) {
    if (stop === 'exit') return [['Nym address', info?.exit]];
    return stop === 'gateway' ? [['Identity', info?.gateway], ['URL', info?.gatewayUrl]] : [];
  }
  const { ingress_mixing: ingress, egress_mixing: egress, sees } = node;
  return [
    ['Identity', node.identity],
    ['Listens at', node.mix_address],
    ['State', node.running ? 'running' : 'down'],
    ['Received', `${whole((ingress.forward_hop_packets_received ?? 0) + (ingress.final_hop_packets_received ?? 0))} packets`],
    ['Sent', `${whole(egress.forward_hop_packets_sent ?? 0)} packets`],
    ['Held back now', node.delayed_packets === undefined ? null : `${whole(node.delayed_packets)} packets`],
    ['Clients', node.clients_connected],
    ['Sees clients at', sees?.clients?.join(', ')],
    ['Sees nodes at', sees?.nodes?.join(', ')],
    ['Sends to', sees?.next?.join(', ')],
    ['Connected to', sees?.destinations?.join(', ')],
  ];
}

/**
 * Charts and totals, from the tunnel's `stats` events.
 *
 * @module
 */

/** @import {TunnelStats} from '../worker/smolmix.js' */

import { tunnelEvents } from '../worker/smolmix.js';
import { Chart } from './lib/chart.js';
import { get, make } from './lib/dom.js';
import { rate, whole } from './lib/format.js';
import { session } from './lib/session.js';

/** What the packets chart counts, in this order. */
const COUNTED = ['realSent', 'coverSent', 'acksReceived', 'retransmissions'];

/** Totals below the charts: words, layer, counter. @type {[string, string, string][]} */
const TOTALS = [
  ['real sent', 'nym', 'realSent'],
  ['cover sent', 'nym', 'coverSent'],
  ['retransmitted', 'nym', 'retransmissions'],
  ['acks', 'nym', 'acksReceived'],
  ['messages in', 'nym', 'messagesReceived'],
  ['IP packets out', 'driver', 'ipPacketsOut'],
  ['IP packets in', 'driver', 'ipPacketsIn'],
  ['reconnects', 'driver', 'reconnects'],
];

export function makeTraffic() {
  const place = get('charts', HTMLElement);
  const packets = new Chart(place, {
    title: 'Packets per second',
    series: [
      { label: 'real', line: 'a' },
      { label: 'cover', line: 'b' },
      { label: 'acks', line: 'c' },
      { label: 'again', line: 'd' },
    ],
    format: rate,
  });
  const roundTrip = new Chart(place, {
    title: 'Round trip, ms',
    series: [{ label: 'packet to acknowledgement', line: 'a' }],
    format: whole,
  });
  const queue = new Chart(place, {
    title: 'Queue',
    series: [{ label: 'packets waiting for their turn', line: 'a' }],
    format: whole,
  });
  const surbs = new Chart(place, {
    title: 'Reply SURBs',
    series: [{ label: 'given out and not yet used', line: 'a' }],
    format: whole,
  });

  const totals = get('counters', HTMLElement);
  const cells = TOTALS.map(([label]) => {
    const value = make('dd', { textContent: '0' });
    totals.append(make('div', {}, make('dt', { textContent: label }), value));
    return value;
  });

  /** @type {{at: number, counts: number[], life: number} | null} */
  let last = null;

  tunnelEvents.addEventListener('stats', (event) => {
    const stats = /** @type {CustomEvent<TunnelStats>} */ (event).detail;
    const nym = stats.nym ?? {};
    for (const [number, [, layer, name]] of TOTALS.entries()) {
      const cell = cells[number];
      if (cell) cell.textContent = whole(stats[layer]?.[name] ?? 0);
    }
    const at = performance.now() / 1000;
    const counts = COUNTED.map((name) => nym[name] ?? 0);
    // Real packets contain those that are sent again.
    counts[0] = (counts[0] ?? 0) - (counts[3] ?? 0);
    if (last && last.life === session.life) {
      const { at: before, counts: old } = last;
      const seconds = Math.max(at - before, 0.2);
      packets.add(counts.map((count, number) => Math.max(count - (old[number] ?? 0), 0) / seconds));
    } else if (last) {
      for (const chart of [packets, queue, roundTrip, surbs]) chart.interrupt();
    }
    last = { at, counts, life: session.life };
    queue.add([nym.queued ?? 0]);
    roundTrip.add([nym.ackRoundTrip ? nym.ackRoundTrip * 1000 : null]);
    surbs.add([Math.max((nym.surbsIssued ?? 0) - (nym.surbsAnswered ?? 0), 0)]);
  });
}

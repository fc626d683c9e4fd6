/**
 * Live counters and a chart of packets per second, from the tunnel's `stats` events.
 *
 * @module
 */

/** @import {TunnelStats} from '../worker/smolmix.js' */

/** Points kept; one a second. */
const SPAN = 60;
const WIDTH = 600;
const HEIGHT = 120;

/** What is shown, from which layer. @type {[string, string, string][]} */
const SHOWN = [
  ['real', 'nym', 'realSent'],
  ['cover', 'nym', 'coverSent'],
  ['resent', 'nym', 'retransmissions'],
  ['acks', 'nym', 'acksReceived'],
  ['received', 'nym', 'pushes'],
  ['queued', 'nym', 'queued'],
  ['IP out', 'driver', 'ipPacketsOut'],
  ['IP in', 'driver', 'ipPacketsIn'],
];

export class PacketPanel {
  /** @type {{out: number, in: number}[]} */
  #rates = [];
  /** @type {{out: number, in: number, time: number} | null} */
  #last = null;
  #chart;
  /** @type {Map<string, HTMLElement>} */
  #values = new Map();

  #now;

  /**
   * @param {Element} chart an SVG element
   * @param {Element} counters a dl
   * @param {{out: Element, in: Element}} now where the present rates are written
   */
  constructor(chart, counters, now) {
    this.#chart = chart;
    this.#now = now;
    for (const [label] of SHOWN) {
      const group = document.createElement('div');
      const term = document.createElement('dt');
      const value = document.createElement('dd');
      term.textContent = label;
      value.textContent = '0';
      group.append(term, value);
      counters.append(group);
      this.#values.set(label, value);
    }
    this.#draw();
  }

  /** A new tunnel counts from zero; without one nothing moves. */
  reset() {
    this.#last = null;
    this.#now.out.textContent = this.#now.in.textContent = '0';
  }

  /** @param {TunnelStats} stats */
  update(stats) {
    for (const [label, layer, name] of SHOWN) {
      const value = this.#values.get(label);
      if (value) value.textContent = (stats[layer]?.[name] ?? 0).toLocaleString('en');
    }
    const now = {
      out: stats.gateway?.packetsSent ?? 0,
      in: stats.gateway?.pushesReceived ?? 0,
      time: performance.now() / 1000,
    };
    if (this.#last && now.time > this.#last.time) {
      const seconds = now.time - this.#last.time;
      const rate = { out: (now.out - this.#last.out) / seconds, in: (now.in - this.#last.in) / seconds };
      this.#rates.push(rate);
      this.#now.out.textContent = rate.out.toFixed(0);
      this.#now.in.textContent = rate.in.toFixed(0);
      this.#rates.splice(0, this.#rates.length - SPAN);
      this.#draw();
    }
    this.#last = now;
  }

  #draw() {
    const top = Math.max(10, ...this.#rates.flatMap((rate) => [rate.out, rate.in])) * 1.1;
    /** @param {'out' | 'in'} direction */
    const line = (direction) =>
      this.#rates
        .map((rate, index) => {
          const x = WIDTH - ((this.#rates.length - 1 - index) * WIDTH) / (SPAN - 1);
          return `${x.toFixed(1)},${(HEIGHT - (rate[direction] / top) * HEIGHT).toFixed(1)}`;
        })
        .join(' L');
    const [out, received] = [line('out'), line('in')];
    const start = WIDTH - ((this.#rates.length - 1) * WIDTH) / (SPAN - 1);
    this.#chart.replaceChildren(
      path('area', out && `M${start},${HEIGHT} L${out} L${WIDTH},${HEIGHT} Z`),
      path('out', out && `M${out}`),
      path('in', received && `M${received}`),
    );
  }
}

/** @param {string} name @param {string} data */
function path(name, data) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  element.setAttribute('class', name);
  element.setAttribute('d', data);
  return element;
}

/**
 * The map: stops as buttons that tell about themselves, links with their rates, and packets between them.
 *
 * @module
 */

/** @import {Kind} from './flow.js' */
/** @import {Layout} from './layout.js' */

import { draw, icon, make } from '../lib/dom.js';
import { rate } from '../lib/format.js';
import { Flow } from './flow.js';
import { STOPS, layOut } from './layout.js';

/** @typedef {typeof STOPS[number]} Stop */

/** @type {Record<Stop, [string, string]>} */
const LOOKS = {
  page: ['You', 'page'],
  gateway: ['Gateway', 'gateway'],
  layer1: ['Mix 1', 'mix'],
  layer2: ['Mix 2', 'mix'],
  layer3: ['Mix 3', 'mix'],
  exit: ['Exit', 'exit'],
  site: ['Site', 'site'],
};

/** Most dots for one link and count; above it a dot stands for several packets. */
const MOST_DOTS = 20;

export class RouteMap {
  #place;
  #svg = draw('svg', { class: 'links', 'aria-hidden': 'true' });
  #canvas = make('canvas');
  /** @type {Map<Stop, HTMLButtonElement>} */
  #stops = new Map();
  /** @type {Map<string, SVGPathElement>} */
  #paths = new Map();
  /** @type {Map<string, SVGTextElement>} */
  #labels = new Map();
  /** @type {Record<string, number>} */
  #rates = {};
  #width = 0;
  flow = new Flow(this.#canvas);

  /**
   * @param {HTMLElement} place
   * @param {(stop: Stop) => void} onChoose
   */
  constructor(place, onChoose) {
    this.#place = place;
    for (const name of STOPS) {
      const [label, look] = LOOKS[name];
      const button = make(
        'button',
        { type: 'button', className: `node ${look}`, onclick: () => onChoose(name) },
        make('span', { className: 'badge' }, icon(look)),
        make('span', { textContent: label }),
      );
      button.dataset.stop = name;
      button.setAttribute('aria-expanded', 'false');
      button.setAttribute('aria-controls', 'node-detail');
      this.#stops.set(name, button);
    }
    place.append(this.#svg, this.#canvas, ...this.#stops.values());
    new ResizeObserver(() => this.#fit()).observe(place);
    this.#fit();
  }

  /** Stops that the tunnel has reached. @param {Stop[]} reached */
  light(reached) {
    for (const [name, button] of this.#stops) button.classList.toggle('lit', reached.includes(name));
    for (const [link, path] of this.#paths) {
      const [from, to] = /** @type {[Stop, Stop]} */ (link.split('>'));
      path.classList.toggle('lit', reached.includes(from) && reached.includes(to));
    }
  }

  /** Stops that are known to be down. @param {Stop[]} lost */
  lose(lost) {
    for (const [name, button] of this.#stops) button.classList.toggle('lost', lost.includes(name));
  }

  /** @param {Stop | null} chosen */
  mark(chosen) {
    for (const [name, button] of this.#stops) button.setAttribute('aria-expanded', String(name === chosen));
  }

  /** What the map calls a stop. @param {Stop} stop */
  nameOf(stop) {
    return LOOKS[stop][0];
  }

  /** Packets per second, by link; a link that is missing has no number. @param {Record<string, number>} rates */
  rate(rates) {
    this.#rates = rates;
    for (const [link, label] of this.#labels) {
      const value = rates[link];
      label.textContent = value === undefined ? '' : `${rate(value)}/s`;
    }
    for (const [link, path] of this.#paths) {
      path.style.strokeWidth = String(2 + Math.min(Math.log2(1 + (rates[link] ?? 0)) * 0.25, 2));
    }
  }

  /**
   * Packets that were counted since the last time.
   *
   * @param {[string, number, Kind][]} counts by link
   * @returns {number} packets that a dot stands for
   */
  move(counts) {
    const most = Math.max(0, ...counts.map(([, count]) => count));
    const each = Math.max(1, Math.ceil(most / MOST_DOTS));
    for (const [link, count, kind] of counts) this.flow.send(link, Math.ceil(count / each), kind);
    return each;
  }

  #fit() {
    const width = this.#place.clientWidth;
    if (width === this.#width || width === 0) return;
    this.#width = width;
    const layout = layOut(width);
    this.#place.classList.toggle('upright', layout.upright);
    this.#place.style.height = `${layout.height}px`;
    for (const [name, button] of this.#stops) {
      const { x, y } = layout.stops[name] ?? { x: 0, y: 0 };
      button.style.left = `${x}px`;
      button.style.top = `${y}px`;
    }
    this.#drawLinks(layout, width);
    this.flow.follow(this.#paths, width, layout.height);
    this.rate(this.#rates);
    this.light([...this.#stops].filter(([, button]) => button.classList.contains('lit')).map(([name]) => name));
  }

  /** @param {Layout} layout @param {number} width */
  #drawLinks({ links, zone, height }, width) {
    this.#svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.#svg.replaceChildren(draw('rect', { class: 'zone', rx: 16, ...zone }));
    this.#paths.clear();
    this.#labels.clear();
    for (const [link, { path, label, inside }] of Object.entries(links)) {
      const line = draw('path', { d: path });
      const text = draw('text', { class: inside ? 'rate inside' : 'rate', 'text-anchor': 'middle', ...label });
      this.#paths.set(link, line);
      this.#labels.set(link, text);
    }
    this.#svg.append(...this.#paths.values(), ...this.#labels.values());
  }
}

/**
 * A line chart over time, drawn as SVG so that the page's own colours and dashes are its style. Values are read off
 * with the pointer, or with the arrow keys when the chart has the focus.
 *
 * @module
 */

import { draw, make } from './dom.js';

/** @typedef {{label: string, line: 'a' | 'b' | 'c' | 'd'}} Series */

/** Seconds that are shown: few at first, so that the beginning is not a stroke at the edge. */
const LEAST_SPAN = 30;
const SPAN = 120;
const HEIGHT = 130;
const LEFT = 38;
const BOTTOM = 18;
const TOP = 8;

export class Chart {
  #title;
  #series;
  #format;
  #figure = make('figure', { className: 'chart' });
  #plot = draw('svg', { class: 'plot', tabindex: 0, role: 'img' });
  #legend = make('div', { className: 'legend' });
  /** @type {HTMLElement[]} */
  #values = [];
  /** Oldest first; null is a value that is not known. @type {{time: number, values: (number | null)[]}[]} */
  #points = [];
  #width = 0;
  /** Point that is read off. @type {number | null} */
  #cursor = null;

  /**
   * @param {HTMLElement} place
   * @param {{title: string, series: Series[], format: (value: number) => string}} options
   */
  constructor(place, { title, series, format }) {
    this.#title = title;
    this.#series = series;
    this.#format = format;
    for (const { label, line } of series) {
      const value = make('b', { textContent: '–' });
      this.#values.push(value);
      const sample = draw('svg', { viewBox: '0 0 18 8' }, draw('path', { class: `line ${line}`, d: 'M1,4H17', fill: 'none' }));
      this.#legend.append(make('span', {}, sample, `${label} `, value));
    }
    this.#figure.append(make('figcaption', {}, make('span', { textContent: title }), this.#legend), this.#plot);
    place.append(this.#figure);
    this.#plot.addEventListener('pointermove', (event) => this.#point(event.offsetX));
    this.#plot.addEventListener('pointerleave', () => this.#read(null));
    this.#plot.addEventListener('blur', () => this.#read(null));
    this.#plot.addEventListener('keydown', (event) => this.#step(event));
    new ResizeObserver(() => {
      this.#width = this.#plot.clientWidth;
      this.#paint();
    }).observe(this.#plot);
  }

  /** @param {(number | null)[]} values one for each series @param {number} [time] seconds */
  add(values, time = performance.now() / 1000) {
    this.#points.push({ time, values });
    const old = this.#points.findIndex((point) => point.time > time - SPAN);
    if (old > 0) this.#points.splice(0, old);
    if (this.#cursor !== null) this.#cursor = Math.max(this.#cursor - Math.max(old, 0), 0);
    this.#paint();
  }

  /** Another tunnel counts anew: a gap. */
  interrupt() {
    if (this.#points.length > 0) this.add(this.#series.map(() => null));
  }

  /** @param {number} x pixels */
  #point(x) {
    const now = this.#points.at(-1)?.time ?? 0;
    const wanted = now - ((this.#width - x) / Math.max(this.#width - LEFT, 1)) * this.#span(now);
    let best = null;
    for (const [at, point] of this.#points.entries()) {
      if (best === null || Math.abs(point.time - wanted) < Math.abs((this.#points[best]?.time ?? 0) - wanted)) best = at;
    }
    this.#read(best);
  }

  /** @param {KeyboardEvent} event */
  #step(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined || this.#points.length === 0) return;
    event.preventDefault();
    const last = this.#points.length - 1;
    this.#read(Math.min(Math.max((this.#cursor ?? last + 1) + step, 0), last));
  }

  /** @param {number | null} at */
  #read(at) {
    this.#cursor = at;
    this.#paint();
  }

  /** @param {number} now seconds */
  #span(now) {
    const age = now - (this.#points[0]?.time ?? now);
    return Math.min(Math.max(Math.ceil(age / 30) * 30, LEAST_SPAN), SPAN);
  }

  #paint() {
    const { top, ticks } = scale(Math.max(0, ...this.#points.flatMap((point) => point.values.map((value) => value ?? 0))));
    const now = this.#points.at(-1)?.time ?? 0;
    const span = this.#span(now);
    const x = (/** @type {number} */ time) => this.#width - 4 - ((now - time) / span) * (this.#width - 4 - LEFT);
    const y = (/** @type {number} */ value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
    /** @type {SVGElement[]} */
    const parts = ticks.flatMap((tick) => [
      draw('line', { class: 'grid', x1: LEFT, x2: this.#width, y1: y(tick), y2: y(tick) }),
      draw('text', { class: 'tick', x: LEFT - 6, y: y(tick) + 4, 'text-anchor': 'end' }, tick.toLocaleString('en')),
    ]);
    for (const ago of [span, span / 2, 0]) {
      const words = ago === 0 ? 'now' : `${ago} s ago`;
      const anchor = ago === span ? 'start' : ago === 0 ? 'end' : 'middle';
      parts.push(draw('text', { class: 'tick', x: x(now - ago), y: HEIGHT - 3, 'text-anchor': anchor }, words));
    }
    // The first series is the one that matters: it is drawn last, over the others.
    for (const [number, { line }] of [...this.#series.entries()].reverse()) {
      parts.push(draw('path', { class: `line ${line}`, d: path(this.#points, number, x, y) }));
    }
    const cursor = this.#cursor === null ? undefined : this.#points[this.#cursor];
    if (cursor) parts.push(draw('line', { class: 'cursor', x1: x(cursor.time), x2: x(cursor.time), y1: TOP, y2: HEIGHT - BOTTOM }));
    if (this.#points.length === 0) {
      const middle = { x: (this.#width + LEFT) / 2, y: HEIGHT / 2, 'text-anchor': 'middle' };
      parts.push(draw('text', { class: 'nothing', ...middle }, 'nothing yet'));
    }
    this.#plot.replaceChildren(...parts);
    this.#tell(cursor ?? this.#points.at(-1), now);
  }

  /** @param {{time: number, values: (number | null)[]} | undefined} point @param {number} now */
  #tell(point, now) {
    const words = this.#series.map(({ label }, number) => {
      const value = point?.values[number] ?? null;
      const text = value === null ? '–' : this.#format(value);
      const cell = this.#values[number];
      if (cell) cell.textContent = text;
      return `${label} ${text}`;
    });
    const when = !point || point.time === now ? 'now' : `${Math.round(now - point.time)} seconds ago`;
    this.#plot.setAttribute('aria-label', `${this.#title}, ${when}: ${words.join(', ')}`);
  }
}

/**
 * @param {{time: number, values: (number | null)[]}[]} points
 * @param {number} series
 * @param {(time: number) => number} x
 * @param {(value: number) => number} y
 */
function path(points, series, x, y) {
  let text = '';
  let drawing = false;
  for (const { time, values } of points) {
    const value = values[series] ?? null;
    if (value !== null) text += `${drawing ? 'L' : 'M'}${x(time).toFixed(1)},${y(value).toFixed(1)}`;
    drawing = value !== null;
  }
  return text;
}

/** A round end of the axis and three ticks. @param {number} most */
export function scale(most) {
  const least = Math.max(most * 1.05, 4);
  const power = 10 ** Math.floor(Math.log10(least));
  const top = ([1, 2, 4, 5, 10].find((factor) => factor * power >= least) ?? 10) * power;
  return { top, ticks: [0, top / 2, top] };
}

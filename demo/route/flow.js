/**
 * The packets that move on the map. Whoever calls `send` has counted them; nothing moves by itself.
 *
 * @module
 */

/** How long a dot takes for a link, milliseconds: for the eye, not the packet's own time. */
const TRAVEL = 900;

/** Over how long the dots of one count are spread: counts come once a second. */
const SPREAD = 1000;

/** Shortest time between two pictures, milliseconds: thirty a second are smooth, and spare the battery. */
const FRAME = 30;

const POINTS = 48;
const RADIUS = 3.5;

/** `own` carries data of the page, `other` is cover or an acknowledgement, `any`: nobody can tell. @typedef {'own' | 'other' | 'any'} Kind */

/** @typedef {{points: {x: number, y: number}[], start: number, kind: Kind}} Dot */

export class Flow {
  #canvas;
  #context;
  /** @type {Dot[]} */
  #dots = [];
  /** @type {Map<string, {x: number, y: number}[]>} */
  #paths = new Map();
  #frame = 0;
  #painted = 0;
  #colours = { own: '', other: '', any: '', ground: '' };
  #still = matchMedia('(prefers-reduced-motion: reduce)');

  /** @param {HTMLCanvasElement} canvas over the links */
  constructor(canvas) {
    this.#canvas = canvas;
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#readColours());
    this.#context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  }

  /** Dots under way, for tests. */
  get moving() {
    return this.#dots.length;
  }

  /** The map was drawn anew. @param {Map<string, SVGPathElement>} paths by link @param {number} width @param {number} height */
  follow(paths, width, height) {
    const scale = devicePixelRatio || 1;
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    this.#context.setTransform(scale, 0, 0, scale, 0, 0);
    this.#dots = [];
    this.#paths.clear();
    for (const [link, path] of paths) {
      const length = path.getTotalLength();
      const at = (/** @type {number} */ step) => path.getPointAtLength((length * step) / POINTS);
      this.#paths.set(link, Array.from({ length: POINTS + 1 }, (_, step) => at(step)));
    }
  }

  /** @param {string} link @param {number} dots @param {Kind} kind */
  send(link, dots, kind) {
    const points = this.#paths.get(link);
    if (!points || dots === 0 || this.#still.matches || document.hidden) return;
    const now = performance.now();
    for (let number = 0; number < dots; number += 1) {
      this.#dots.push({ points, start: now + ((number + Math.random()) / dots) * SPREAD, kind });
    }
    if (this.#frame === 0) {
      this.#readColours();
      this.#frame = requestAnimationFrame((time) => this.#paint(time));
    }
  }

  stop() {
    this.#dots = [];
  }

  #readColours() {
    const style = getComputedStyle(this.#canvas);
    const accent = style.getPropertyValue('--accent');
    const [cover, ground] = [style.getPropertyValue('--cover'), style.getPropertyValue('--card')];
    this.#colours = { own: accent, other: cover, any: accent, ground };
  }

  /** @param {number} time */
  #paint(time) {
    if (time - this.#painted < FRAME) {
      this.#frame = requestAnimationFrame((next) => this.#paint(next));
      return;
    }
    this.#painted = time;
    const context = this.#context;
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    this.#dots = this.#dots.filter((dot) => time - dot.start < TRAVEL);
    for (const { points, start, kind } of this.#dots) {
      const along = (time - start) / TRAVEL;
      if (along < 0) continue;
      const place = along * POINTS;
      const before = points[Math.floor(place)];
      const after = points[Math.ceil(place)];
      if (!before || !after) continue;
      const part = place % 1;
      const x = before.x + (after.x - before.x) * part;
      const y = before.y + (after.y - before.y) * part;
      context.globalAlpha = Math.min(1, along * 6, (1 - along) * 6);
      context.beginPath();
      context.arc(x, y, kind === 'other' ? RADIUS - 0.5 : RADIUS, 0, 2 * Math.PI);
      if (kind === 'other') {
        context.fillStyle = this.#colours.ground;
        context.fill();
        context.strokeStyle = this.#colours.other;
        context.lineWidth = 1.4;
        context.stroke();
      } else {
        context.fillStyle = this.#colours[kind];
        context.fill();
      }
    }
    context.globalAlpha = 1;
    this.#frame = this.#dots.length > 0 ? requestAnimationFrame((next) => this.#paint(next)) : 0;
  }
}

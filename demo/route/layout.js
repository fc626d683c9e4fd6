/**
 * Where the stops and links of the map lie, for a given room: along a line on wide screens, upright on phones.
 *
 * @module
 */

/** @typedef {{x: number, y: number}} Point */

/**
 * @typedef {object} Layout
 * @property {boolean} upright
 * @property {number} height
 * @property {Record<string, Point>} stops
 * @property {Record<string, {path: string, label: Point, inside?: boolean}>} links
 * @property {{x: number, y: number, width: number, height: number}} zone of the mix nodes
 */

export const STOPS = /** @type {const} */ (['page', 'gateway', 'layer1', 'layer2', 'layer3', 'exit', 'site']);

const UPRIGHT_BELOW = 640;
const WIDE_HEIGHT = 236;
const UPRIGHT_HEIGHT = 620;

/** Shares of the length. */
const WIDE = [0.045, 0.2, 0.37, 0.515, 0.66, 0.81, 0.955];
const UPRIGHT = [0.045, 0.2, 0.36, 0.495, 0.63, 0.79, 0.95];

/** Half a badge, and the distance of two links side by side. */
const BADGE = 23;
const APART = 6;

/** @param {number} width pixels @returns {Layout} */
export function layOut(width) {
  return width < UPRIGHT_BELOW ? upright(width) : wide(width);
}

/** @param {number} width @returns {Layout} */
function wide(width) {
  const y = 112;
  const x = Object.fromEntries(STOPS.map((name, at) => [name, Math.round((WIDE[at] ?? 0) * width)]));
  const at = (/** @type {string} */ name) => x[name] ?? 0;
  /** @param {string} from @param {string} to @param {number} offset of the line, upwards negative */
  const line = (from, to, offset = 0) => {
    const way = Math.sign(at(to) - at(from));
    const label = { x: (at(from) + at(to)) / 2, y: y + (offset > 0 ? offset + 17 : offset - 8) };
    return { path: `M${at(from) + way * BADGE},${y + offset}L${at(to) - way * BADGE},${y + offset}`, label };
  };
  /** @param {string} from @param {string} to @param {number} bend */
  const arc = (from, to, bend) => {
    const [a, b, start] = [at(from) - 18, at(to) + 18, y + Math.sign(bend) * 17];
    const path = `M${a},${start}C${a - 50},${start + bend} ${b + 50},${start + bend} ${b},${start}`;
    return { path, label: { x: (a + b) / 2, y: start + bend * 0.75 + 4 } };
  };
  return {
    upright: false,
    height: WIDE_HEIGHT,
    stops: Object.fromEntries(STOPS.map((name) => [name, { x: at(name), y }])),
    links: {
      'page>gateway': line('page', 'gateway', -APART),
      'gateway>page': line('gateway', 'page', APART),
      'gateway>layer1': line('gateway', 'layer1'),
      'layer1>layer2': { ...line('layer1', 'layer2'), inside: true },
      'layer2>layer3': { ...line('layer2', 'layer3'), inside: true },
      'layer3>exit': line('layer3', 'exit'),
      'exit>layer1': arc('exit', 'layer1', 112),
      'layer3>gateway': arc('layer3', 'gateway', -96),
      'exit>site': line('exit', 'site', -APART),
      'site>exit': line('site', 'exit', APART),
    },
    zone: { x: at('layer1') - 48, y: y - 50, width: at('layer3') - at('layer1') + 96, height: 112 },
  };
}

/** @param {number} width @returns {Layout} */
function upright(width) {
  const x = Math.round(width * 0.37);
  const y = Object.fromEntries(STOPS.map((name, at) => [name, Math.round((UPRIGHT[at] ?? 0) * UPRIGHT_HEIGHT)]));
  const at = (/** @type {string} */ name) => y[name] ?? 0;
  /** @param {string} from @param {string} to @param {number} offset of the line, to the left negative */
  const line = (from, to, offset = 0) => {
    const way = Math.sign(at(to) - at(from));
    const label = { x: x + (offset < 0 ? offset - 24 : offset + 24), y: (at(from) + at(to)) / 2 + 4 };
    return { path: `M${x + offset},${at(from) + way * BADGE}L${x + offset},${at(to) - way * BADGE}`, label };
  };
  /** @param {string} from @param {string} to @param {number} bend */
  const arc = (from, to, bend) => {
    const [a, b, start] = [at(from) - 14, at(to) + 14, x + Math.sign(bend) * 19];
    const path = `M${start},${a}C${start + bend},${a - 40} ${start + bend},${b + 40} ${start},${b}`;
    return { path, label: { x: start + bend * 0.75, y: (a + b) / 2 + 4 } };
  };
  // The peak of an arc is at three quarters of its bend, and its number wants room there.
  const right = Math.min((width - x - 44) / 0.75, 190);
  const left = Math.min((x - 44) / 0.75, 130);
  return {
    upright: true,
    height: UPRIGHT_HEIGHT,
    stops: Object.fromEntries(STOPS.map((name) => [name, { x, y: at(name) }])),
    links: {
      'page>gateway': line('page', 'gateway', -APART),
      'gateway>page': line('gateway', 'page', APART),
      'gateway>layer1': line('gateway', 'layer1'),
      'layer1>layer2': { ...line('layer1', 'layer2'), inside: true },
      'layer2>layer3': { ...line('layer2', 'layer3'), inside: true },
      'layer3>exit': line('layer3', 'exit'),
      'exit>layer1': arc('exit', 'layer1', right),
      'layer3>gateway': arc('layer3', 'gateway', -left),
      'exit>site': line('exit', 'site', -APART),
      'site>exit': line('site', 'exit', APART),
    },
    zone: { x: x - 40, y: at('layer1') - 38, width: 140, height: at('layer3') - at('layer1') + 76 },
  };
}

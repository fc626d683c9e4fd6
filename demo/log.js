/**
 * The log, by stage and level.
 *
 * @module
 */

/** @import {TunnelLog} from '../worker/smolmix.js' */

import { get, make } from './lib/dom.js';
import { clock } from './lib/format.js';
import { session } from './lib/session.js';

const MOST_LINES = 500;

/** @type {TunnelLog['level'][]} */
const LEVELS = ['debug', 'info', 'warning', 'error', 'critical'];

export function makeLog() {
  const list = get('log', HTMLElement);
  const stage = get('log-stage', HTMLSelectElement);
  const level = get('log-level', HTMLSelectElement);
  const empty = make('div', { className: 'empty', textContent: 'Nothing has happened yet.' });
  list.append(empty);

  /** @param {HTMLElement} line */
  function filter(line) {
    const wanted = LEVELS.indexOf(/** @type {TunnelLog['level']} */ (level.value));
    const { stage: of, level: at } = line.dataset;
    const isIn = stage.value === '' || stage.value === of;
    line.hidden = !isIn || LEVELS.indexOf(/** @type {TunnelLog['level']} */ (at)) < wanted;
  }

  function filterAll() {
    for (const line of list.children) if (line !== empty) filter(/** @type {HTMLElement} */ (line));
    list.scrollTop = list.scrollHeight;
  }

  stage.addEventListener('change', filterAll);
  level.addEventListener('change', filterAll);
  get('log-clear', HTMLButtonElement).addEventListener('click', () => list.replaceChildren(empty));

  session.addEventListener('log', (event) => {
    const record = /** @type {CustomEvent<TunnelLog>} */ (event).detail;
    const atEnd = list.scrollTop + list.clientHeight > list.scrollHeight - 30;
    const line = make(
      'div',
      { className: LEVELS.indexOf(record.level) > 2 ? 'failure' : record.level },
      make('time', { textContent: clock() }),
      make('b', { textContent: record.layer }),
      record.message,
    );
    Object.assign(line.dataset, { stage: record.layer, level: record.level });
    if (![...stage.options].some((option) => option.value === record.layer)) {
      stage.append(new Option(record.layer, record.layer));
    }
    empty.remove();
    list.append(line);
    filter(line);
    while (list.children.length > MOST_LINES) list.firstElementChild?.remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
  });
}

/**
 * A list of messages, ours to the right.
 *
 * @module
 */

import { make } from './dom.js';
import { clock } from './format.js';

const MOST = 300;

export class Chat {
  #list;
  #empty;

  /** @param {HTMLElement} list @param {string} empty what stands there before the first message */
  constructor(list, empty) {
    this.#list = list;
    this.#empty = make('div', { className: 'empty', textContent: empty });
    list.append(this.#empty);
  }

  /**
   * @param {'in' | 'out'} direction
   * @param {string} text
   * @param {...(string | Node)} details beside the time
   */
  add(direction, text, ...details) {
    const facts = [direction === 'out' ? 'you' : 'received', clock(), ...details.filter((detail) => detail !== '')];
    this.#append(
      make(
        'div',
        { className: direction },
        text,
        make('small', {}, ...facts.map((fact) => (typeof fact === 'string' ? make('span', { textContent: fact }) : fact))),
      ),
    );
  }

  /** Something that happened between the messages. @param {string} text */
  note(text) {
    this.#append(make('div', { className: 'event', textContent: `${clock()} ${text}` }));
  }

  /** @param {HTMLElement} line */
  #append(line) {
    this.#empty.remove();
    this.#list.append(line);
    while (this.#list.children.length > MOST) this.#list.firstElementChild?.remove();
    this.#list.scrollTop = this.#list.scrollHeight;
  }
}

/**
 * What a tool says, and which of its buttons rest, while there is no tunnel to use.
 *
 * @module
 */

import { make } from './dom.js';
import { session } from './session.js';

/** @param {() => void} setUp what the notice's own button does */
export function watchTools(setUp) {
  const notices = /** @type {HTMLElement[]} */ ([...document.querySelectorAll('[data-notice]')]);
  const buttons = /** @type {HTMLButtonElement[]} */ ([...document.querySelectorAll('[data-needs-tunnel]')]);
  session.onState(() => {
    for (const button of buttons) button.disabled = !session.isUp;
    for (const notice of notices) {
      notice.hidden = session.state === 'ready';
      notice.classList.toggle('warm', session.state === 'reconnecting' || session.state === 'failed');
      notice.replaceChildren(...words(setUp));
    }
  });
}

/** @param {() => void} setUp @returns {(Node | string)[]} */
function words(setUp) {
  const button = make('button', { type: 'button', textContent: 'Set it up', onclick: setUp });
  switch (session.state) {
    case 'connecting':
      return ['The tunnel is being set up.'];
    case 'reconnecting':
      return [`The tunnel is looking for its way again (${session.reason}). What you send now waits for it.`];
    case 'shutting_down':
      return ['The tunnel is being closed.'];
    case 'failed':
      return [`The tunnel failed: ${session.reason}. `, button, ' again.'];
    default:
      return ['This needs the tunnel, and there is none. ', button, '.'];
  }
}

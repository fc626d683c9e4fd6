/**
 * Raw messages from tab to tab, by Nym address.
 *
 * @module
 */

/** @import {MixMessageEvent} from '../../worker/smolmix.js' */
/** @import {Panel} from '../lib/panel.js' */

import { mixClient } from '../../worker/smolmix.js';
import { Chat } from '../lib/chat.js';
import { copyFrom, explain, get, make, show } from '../lib/dom.js';
import { formatLink } from '../lib/link.js';
import { session } from '../lib/session.js';

/** @returns {Panel} */
export function makeMessagesPanel() {
  const box = get('own-address-box', HTMLElement);
  const own = get('own-address', HTMLElement);
  const copy = get('copy-address', HTMLButtonElement);
  const second = get('second-tab', HTMLAnchorElement);
  const to = get('msg-to', HTMLInputElement);
  const text = get('msg-text', HTMLInputElement);
  const anonymous = get('msg-anonymous', HTMLInputElement);
  const replying = get('msg-reply', HTMLElement);
  const cancel = get('msg-cancel', HTMLButtonElement);
  const problem = get('msg-error', HTMLElement);
  const chat = new Chat(
    get('msg-list', HTMLElement),
    'Open a second tab, set its tunnel up, and write from there to here.',
  );

  /** Tag of the sender who is answered; null for a message to an address. @type {string | null} */
  let tag = null;

  /** @param {string | null} senderTag */
  function answer(senderTag) {
    tag = senderTag;
    replying.hidden = cancel.hidden = tag === null;
    replying.textContent = tag === null ? '' : '(an answer; the sender stays unknown to you)';
    to.readOnly = tag !== null;
    to.value = tag === null ? '' : `sender ${tag}`;
    anonymous.disabled = tag !== null;
    (tag === null ? to : text).focus();
  }
  cancel.addEventListener('click', () => answer(null));

  mixClient.addEventListener('message', (/** @type {MixMessageEvent} */ event) => {
    const words = new TextDecoder().decode(event.data);
    const { senderTag, sender } = event;
    session.log('info', 'messages', `received ${event.data.byteLength} bytes`);
    if (senderTag === null) {
      chat.add('in', words, sender === null ? 'from nobody who can be answered' : 'an answer');
    } else {
      const button = make('button', { type: 'button', textContent: 'Answer', onclick: () => answer(senderTag) });
      chat.add('in', words, `sender ${senderTag.slice(0, 8)}…`, button);
    }
  });

  copy.addEventListener('click', () => copyFrom(copy, own.textContent ?? ''));

  session.onState(() => {
    box.hidden = !session.isUp;
  });
  session.addEventListener('info', () => {
    const address = session.info?.address ?? '';
    own.textContent = own.title = address;
    // A gateway knows a client by its keys, so the other tab needs some of its own.
    const options = { clientId: `tab-${crypto.randomUUID().slice(0, 8)}` };
    second.href = formatLink('messages', [['to', address]], options);
    box.hidden = false;
  });

  get('msg-form', HTMLFormElement).addEventListener('submit', async (event) => {
    event.preventDefault();
    if (!session.isUp) return;
    problem.hidden = true;
    const words = text.value;
    try {
      if (tag !== null) await mixClient.reply(tag, words);
      else if (anonymous.checked) await mixClient.sendAnonymous(to.value.trim(), words);
      else await mixClient.send(to.value.trim(), words);
      text.value = '';
      chat.add('out', words, tag !== null ? 'by reply SURB' : anonymous.checked ? 'can be answered' : 'no answer possible');
      session.log('info', 'messages', `queued ${words.length} characters`);
    } catch (error) {
      show(problem, explain(error));
      session.log('error', 'messages', explain(error));
    }
  });

  return {
    share: () => [['to', tag === null ? to.value : '']],
    restore(fields) {
      to.value = fields.get('to') ?? to.value;
    },
  };
}

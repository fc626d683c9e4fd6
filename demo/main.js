/**
 * The playground. It uses smolmix.js as any page would, and nothing else of the project.
 *
 * @module
 */

/** @import {Panel} from './lib/panel.js' */

import { copyFrom, get, show } from './lib/dom.js';
import { formatLink, parseLink } from './lib/link.js';
import { watchTools } from './lib/notice.js';
import { loadConfig } from './lib/panel.js';
import { session } from './lib/session.js';
import { makeTabs } from './lib/tabs.js';
import { makeLog } from './log.js';
import { makeOptionForm } from './options.js';
import { makeContrastPanel } from './panels/contrast.js';
import { makeDnsPanel } from './panels/dns.js';
import { makeFetchPanel } from './panels/fetch.js';
import { makeMessagesPanel } from './panels/messages.js';
import { makeWebSocketPanel } from './panels/websocket.js';
import { makeRoute } from './route/route.js';
import { makeSetup } from './setup.js';
import { makeTraffic } from './traffic.js';

const config = await loadConfig();
makeLog();
const optionForm = makeOptionForm(get('option-groups', HTMLElement), config.options);
const { setUp } = makeSetup(optionForm);
makeRoute(config);
makeTraffic();
watchTools(setUp);

/** @type {Record<string, Panel>} */
const panels = {
  fetch: makeFetchPanel(config),
  websocket: makeWebSocketPanel(config),
  dns: makeDnsPanel(config),
  messages: makeMessagesPanel(),
  contrast: makeContrastPanel(config),
};

// ---- the page's address follows what is open, and a link fills the forms ----

const tabs = makeTabs(/** @type {HTMLElement} */ (document.querySelector('[role=tablist]')), () => follow());

/** @param {boolean} complete with what only an explicit copy should hold: a request's body */
function link(complete) {
  const fields = panels[tabs.current]?.share() ?? [];
  return formatLink(tabs.current, complete ? fields : fields.filter(([name]) => name !== 'body'), optionForm.changed());
}

function follow() {
  history.replaceState(null, '', link(false));
  const changed = Object.keys(optionForm.changed()).length;
  get('option-count', HTMLElement).textContent = changed === 0 ? '' : `(${changed} changed)`;
}

function restore() {
  const { panel, fields, options } = parseLink(location.hash);
  const labels = session.isDown ? optionForm.fill(options) : [];
  if (labels.length > 0) {
    get('options', HTMLDetailsElement).open = true;
    show(get('link-note', HTMLElement), `This link sets: ${labels.join(', ')}. Look at it before you set the tunnel up.`);
  }
  if (panel !== null && panel in panels) {
    panels[panel]?.restore(fields);
    tabs.choose(panel);
  }
}

// Everything listens by now; clicks and keys can come.
document.body.inert = false;
restore();
addEventListener('hashchange', restore);
document.addEventListener('change', (event) => {
  if (event.target instanceof Element && event.target.closest('form')) follow();
});
const share = get('share', HTMLButtonElement);
share.addEventListener('click', () => copyFrom(share, new URL(link(true), location.href).href));

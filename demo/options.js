/**
 * The set-up form: one field per option of `setupMixTunnel`.
 *
 * @module
 */

/** @import {MixTunnelOptions} from '../worker/smolmix.js' */

/**
 * @typedef {object} Field
 * @property {keyof MixTunnelOptions} name
 * @property {'text' | 'password' | 'number' | 'flag' | 'lines' | 'choice'} type
 * @property {string} label
 * @property {string} [hint] shown while the field is empty: the default
 * @property {boolean} [on] default of a flag
 * @property {string[]} [choices]
 */

/** @type {{title: string, fields: Field[]}[]} */
export const GROUPS = [
  {
    title: 'Network',
    fields: [
      { name: 'network', type: 'text', label: 'Directory', hint: 'Nym mainnet' },
      { name: 'preferredGateway', type: 'text', label: 'Entry gateway', hint: 'random' },
      { name: 'preferredIpr', type: 'text', label: 'Exit', hint: 'random, weighted by performance' },
      { name: 'forceTls', type: 'flag', label: 'Only gateways with TLS (wss:)', on: true },
    ],
  },
  {
    title: 'Traffic',
    fields: [
      { name: 'disablePoissonTraffic', type: 'flag', label: 'Send without the Poisson schedule' },
      { name: 'disableCoverTraffic', type: 'flag', label: 'Send no cover packets' },
      { name: 'openReplySurbs', type: 'number', label: 'Reply SURBs on opening', hint: '10' },
      { name: 'dataReplySurbs', type: 'number', label: 'Reply SURBs on each data frame', hint: '2' },
    ],
  },
  {
    title: 'Names',
    fields: [
      { name: 'primaryDns', type: 'text', label: 'First resolver', hint: '8.8.8.8:53' },
      { name: 'fallbackDns', type: 'text', label: 'Second resolver', hint: '1.1.1.1:53' },
      { name: 'dnsTimeoutMs', type: 'number', label: 'Limit of one query, ms', hint: '30000' },
    ],
  },
  {
    title: 'Connections',
    fields: [
      { name: 'connectTimeoutMs', type: 'number', label: 'Limit of the exit handshake, ms', hint: '60000' },
      { name: 'tcpKeepaliveMs', type: 'number', label: 'TCP keep-alive, ms', hint: '10000' },
      { name: 'tcpBufferSize', type: 'number', label: 'TCP buffer, bytes', hint: '4194304' },
      { name: 'maxRedirects', type: 'number', label: 'Redirects followed', hint: '5' },
      { name: 'cookies', type: 'flag', label: 'Keep cookies' },
      { name: 'tlsResumption', type: 'flag', label: 'Resume TLS sessions' },
      { name: 'trustAnchors', type: 'lines', label: 'Further certificate authorities, PEM', hint: 'none' },
    ],
  },
  {
    title: 'This browser',
    fields: [
      { name: 'clientId', type: 'text', label: 'Client id', hint: 'smolmix-wasm' },
      { name: 'storagePassphrase', type: 'password', label: 'Passphrase of the stored keys', hint: 'stored in the clear' },
      { name: 'cryptoProvider', type: 'choice', label: 'Cryptography', choices: ['auto', 'cryptography', 'npm'] },
      { name: 'debug', type: 'flag', label: 'Log every layer' },
    ],
  },
];

/**
 * @typedef {object} OptionForm
 * @property {() => MixTunnelOptions} read what `setupMixTunnel` gets
 * @property {() => Record<string, unknown>} changed options that differ from the preset
 * @property {(options: Record<string, string>) => string[]} fill sets fields; gives the labels of those it knew
 * @property {(disabled: boolean) => void} setDisabled
 */

/**
 * Fills `container` with the fields.
 *
 * @param {HTMLElement} container
 * @param {MixTunnelOptions} preset
 * @returns {OptionForm}
 */
export function makeOptionForm(container, preset) {
  const fields = GROUPS.flatMap((group) => group.fields);
  for (const group of GROUPS) {
    const fieldset = document.createElement('fieldset');
    const legend = document.createElement('legend');
    legend.textContent = group.title;
    fieldset.append(legend, ...group.fields.map((field) => makeField(field, preset[field.name])));
    container.append(fieldset);
  }
  /** @param {Field} field */
  const control = (field) =>
    /** @type {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} */ (
      container.querySelector(`[name="${field.name}"]`)
    );
  const valueOf = (/** @type {Field} */ field) => {
    const one = control(field);
    return one instanceof HTMLInputElement && field.type === 'flag' ? one.checked : one.value.trim();
  };
  const initial = new Map(fields.map((field) => [field.name, valueOf(field)]));
  return {
    changed() {
      const different = fields.filter((field) => valueOf(field) !== initial.get(field.name));
      return Object.fromEntries(different.map((field) => [field.name, valueOf(field)]));
    },
    fill(options) {
      const known = fields.filter((field) => field.name in options);
      for (const field of known) {
        const one = control(field);
        const value = options[field.name] ?? '';
        if (one instanceof HTMLInputElement && field.type === 'flag') one.checked = value === 'true';
        else one.value = value;
      }
      return known.map((field) => field.label);
    },
    read() {
      /** @type {Record<string, unknown>} */
      const options = {};
      for (const field of fields) {
        const value = readField(field, control(field));
        if (value !== null) options[field.name] = value;
      }
      return options;
    },
    setDisabled(disabled) {
      for (const field of fields) control(field).disabled = disabled;
    },
  };
}

/** @param {Field} field @param {unknown} preset */
function makeField(field, preset) {
  const label = document.createElement('label');
  label.className = field.type === 'flag' ? 'field check' : 'field';
  const text = document.createElement('b');
  text.textContent = field.label;
  const control = makeControl(field, preset);
  control.name = field.name;
  label.append(...(field.type === 'flag' ? [control, text] : [text, control]));
  return label;
}

/** @param {Field} field @param {unknown} preset */
function makeControl(field, preset) {
  if (field.type === 'choice') {
    const select = document.createElement('select');
    select.append(...(field.choices ?? []).map((choice) => new Option(choice)));
    if (typeof preset === 'string') select.value = preset;
    return select;
  }
  if (field.type === 'lines') {
    const area = document.createElement('textarea');
    area.rows = 2;
    area.placeholder = field.hint ?? '';
    area.value = typeof preset === 'string' ? preset : '';
    return area;
  }
  const input = document.createElement('input');
  input.type = field.type === 'flag' ? 'checkbox' : field.type;
  if (field.type === 'flag') {
    input.checked = typeof preset === 'boolean' ? preset : (field.on ?? false);
  } else {
    input.placeholder = field.hint ?? '';
    input.value = preset === undefined || preset === null ? '' : String(preset);
    input.autocomplete = 'off';
    input.spellcheck = false;
  }
  return input;
}

/** @param {Field} field @param {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} control */
function readField(field, control) {
  if (control instanceof HTMLInputElement && field.type === 'flag') {
    return control.checked === (field.on ?? false) ? null : control.checked;
  }
  const text = control.value.trim();
  if (text === '' || (field.type === 'choice' && text === 'auto')) return null;
  return field.type === 'number' ? Number(text) : text;
}

/**
 * The part of the page's state that its address holds: which tool is open, its request, and options of the tunnel.
 * Nothing secret ever gets in, and a link that somebody else wrote fills forms but does nothing by itself.
 *
 * @module
 */

/** Options that a link neither tells nor sets: secrets, and what decides whom to trust. */
const PRIVATE_OPTIONS = ['storagePassphrase', 'trustAnchors'];

/** Names of headers that carry credentials. */
const PRIVATE_HEADER = /^(authorization|proxy-authorization|cookie|.*(token|secret|password|api-?key|session).*)$/i;

const OPTION = 'option.';

/** @typedef {{panel: string | null, fields: URLSearchParams, options: Record<string, string>}} Link */

/** @param {string} hash of a URL, with or without `#` @returns {Link} */
export function parseLink(hash) {
  const all = new URLSearchParams(hash.replace(/^#/, ''));
  /** @type {Record<string, string>} */
  const options = {};
  const fields = new URLSearchParams();
  for (const [name, value] of all) {
    if (!name.startsWith(OPTION)) fields.append(name, value);
    else if (!PRIVATE_OPTIONS.includes(name.slice(OPTION.length))) options[name.slice(OPTION.length)] = value;
  }
  const panel = fields.get('panel');
  fields.delete('panel');
  return { panel, fields, options };
}

/**
 * @param {string} panel
 * @param {[string, string][]} fields of the open panel
 * @param {Record<string, unknown>} options that differ from what the page starts with
 * @returns {string} with `#`
 */
export function formatLink(panel, fields, options) {
  const all = new URLSearchParams({ panel });
  for (const [name, value] of fields) if (value !== '') all.append(name, value);
  for (const [name, value] of Object.entries(options)) {
    if (!PRIVATE_OPTIONS.includes(name)) all.append(OPTION + name, String(value));
  }
  return `#${all}`;
}

/** The lines of a header field that may be shared. @param {string} text `Name: value` on each line */
export function shareableHeaders(text) {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '' && !PRIVATE_HEADER.test(line.split(':', 1)[0]?.trim() ?? ''))
    .join('\n');
}

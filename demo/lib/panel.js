/**
 * What the page knows of a tool besides its name.
 *
 * @typedef {object} Panel
 * @property {() => [string, string][]} share what a link to it holds
 * @property {(fields: URLSearchParams) => void} restore fills its form from a link; does nothing else
 *
 * @module
 */

/**
 * What the server of the page says about the network at hand; on a static server all of it is missing.
 *
 * @typedef {object} Config
 * @property {import('../../worker/smolmix.js').MixTunnelOptions} options to start with
 * @property {string[]} sites URLs to try
 * @property {string[]} sockets WebSocket URLs to try
 * @property {string[]} names host names to try
 * @property {string | null} status where the nodes' own counters are, if they tell them
 * @property {Record<string, string>} clear where origins can be reached without the mixnet
 */

/** @returns {Promise<Config>} */
export async function loadConfig() {
  /** @type {Config} */
  const nothing = { options: {}, sites: [], sockets: [], names: [], status: null, clear: {} };
  try {
    const response = await fetch('config.json');
    if (response.ok) return { ...nothing, ...(await response.json()) };
  } catch {
    // On a static server there is none; then the form starts with the defaults.
  }
  return nothing;
}

/**
 * Subresource integrity (https://www.w3.org/TR/SRI/): a body is given to the page only if it has the digest that the
 * page expects.
 *
 * @module
 */

/** Weakest first. @type {Record<string, string>} */
const ALGORITHMS = { sha256: 'SHA-256', sha384: 'SHA-384', sha512: 'SHA-512' };

/**
 * Reads the whole body and checks it.
 *
 * @param {Response} response
 * @param {string} metadata digests like `sha256-…` with blanks between them; of the strongest kind one must fit.
 *   Kinds that are not known are left out; where none is known, everything fits.
 * @returns {Promise<ArrayBuffer>}
 * @throws {TypeError} none fits
 */
export async function readIntact(response, metadata) {
  const wanted = metadata
    .split(/\s+/)
    .map((one) => /^(sha256|sha384|sha512)-([A-Za-z0-9+/_-]+=*)(\?.*)?$/.exec(one))
    .filter((found) => found !== null);
  const strongest = Object.keys(ALGORITHMS).findLast((kind) => wanted.some(([, found]) => found === kind));
  const body = await response.arrayBuffer();
  if (!strongest) return body;
  // Browsers have it in secure contexts only; elsewhere nothing may pass for checked.
  if (!globalThis.crypto?.subtle) throw new TypeError('integrity: it cannot be checked outside of a secure context');
  const digest = new Uint8Array(await crypto.subtle.digest(ALGORITHMS[strongest], body));
  const text = btoa(String.fromCharCode(...digest));
  const fits = wanted.some(([, kind, value]) => kind === strongest && plainBase64(value) === text);
  if (!fits) throw new TypeError(`integrity: ${response.url} has another digest (${strongest}-${text})`);
  return body;
}

/** @param {string} value */
const plainBase64 = (value) => value.replaceAll('-', '+').replaceAll('_', '/');

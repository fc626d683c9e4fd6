/**
 * From the arguments of `mixResolve` to the fields of a `resolve` message.
 *
 * @module
 */

/** @import {ResolveFields} from './protocol.js' */
/** @import {MixResolveOptions} from './smolmix.js' */

import { parseCount, parseSignal } from './request.js';

/**
 * @param {string} host
 * @param {MixResolveOptions} options
 * @returns {{fields: ResolveFields, signal: AbortSignal | null}}
 * @throws {TypeError} naming the argument that is not acceptable
 */
export function prepareResolve(host, { family = 0, all = false, signal, timeout }) {
  if (typeof host !== 'string' || host === '') throw new TypeError('host: a name or an IP address is wanted');
  if (![0, 4, 6].includes(family)) throw new TypeError(`family: ${family} is not 0, 4 or 6`);
  const limit = parseCount('timeout', timeout, 1, 2 ** 32 - 1);
  return { fields: { host: toAscii(host), family, all: Boolean(all), timeout: limit }, signal: parseSignal(signal) };
}

/** IDNA as the URLs of this browser have it. @param {string} host */
function toAscii(host) {
  // Only what needs it: the host of a URL is also taken for an IPv4 address in odd notations.
  if (/^[\x00-\x7f]*$/.test(host)) return host;
  try {
    return new URL(`https://${host}/`).hostname;
  } catch {
    throw new TypeError(`host: '${host}' is not a host name`);
  }
}

/**
 * What the assets were built for: `smolmix-web assets --features` writes its list into the copy that it makes.
 *
 * @module
 */

import { MixError } from './errors.js';

/** @typedef {'dns' | 'fetch' | 'socket'} Feature */

/** @type {readonly Feature[]} */
export const FEATURES = ['dns', 'fetch', 'socket'];

/** The calls of each. @type {Readonly<Record<Feature, string>>} */
const CALLS = { dns: 'mixResolve', fetch: 'mixFetch', socket: 'MixWebSocket' };

/**
 * @param {readonly Feature[]} present
 * @param {Feature} feature
 * @throws {MixError} it is not there
 */
export function requireFeature(present, feature) {
  if (present.includes(feature)) return;
  const wanted = [...present, feature].sort().join(',');
  throw new MixError({
    code: 'FEATURE_MISSING',
    message: `${CALLS[feature]}: these assets were built without '${feature}'; build them with --features ${wanted}`,
  });
}

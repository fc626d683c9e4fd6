/**
 * smolmix-web for pages: HTTP, WebSocket and DNS through the Nym mixnet.
 *
 *     import { setupMixTunnel, mixFetch } from './smolmix/smolmix.js';
 *     await setupMixTunnel();
 *     const response = await mixFetch('https://example.com/');
 *
 * The functions share one tunnel; `new MixTunnel(options)` makes further ones. Types: smolmix.d.ts.
 *
 * @module
 */

/** @import {MixAddress, MixFetchInit, MixResolveOptions, MixSocketOptions, MixTunnelOptions} from './smolmix.js' */
/** @import {MixClient as MixClientType} from './smolmix.js' */
/** @import {TunnelEvents, TunnelInfo, TunnelState, TunnelStats} from './smolmix.js' */

import { MixClient, MixMessageEvent } from './client.js';
import { MixError } from './errors.js';
import { checkOptions, sameOptions } from './options.js';
import { decodePayload, encodePayload } from './payload.js';
import { responseTimings } from './response.js';
import { MixTunnel } from './tunnel.js';
import { MixWebSocket, shared as sharedBySockets } from './websocket.js';

export { MixClient, MixError, MixMessageEvent, MixTunnel, MixWebSocket, responseTimings };
export { decodePayload, encodePayload };

/** @type {{tunnel: MixTunnel, options: MixTunnelOptions} | null} */
let shared = null;

/** Events of the shared tunnel, across all its lives: `statechange`, `progress`, `stats`, `log`. */
export const tunnelEvents = /** @type {TunnelEvents} */ (new EventTarget());

/**
 * Makes the shared tunnel ready. While it is up, a call with the same options changes nothing and one with others
 * rejects; after `disconnectMixTunnel` or a failure any options are welcome.
 *
 * @param {MixTunnelOptions} [options]
 * @returns {Promise<void>}
 */
export async function setupMixTunnel(options = {}) {
  options = checkOptions(options);
  // Each time round: another call may have set one up during the wait.
  while (shared && !sameOptions(shared.options, options)) {
    const old = shared;
    const { state } = await old.tunnel.getState();
    if (ALIVE.includes(state)) {
      throw new MixError({ code: 'MISUSE', message: 'the tunnel is up with other options; disconnect it first' });
    }
    await old.tunnel.disconnect();
    if (shared === old) shared = null;
  }
  shared ??= adopt(options);
  return shared.tunnel.setup();
}

const ALIVE = ['connecting', 'ready', 'reconnecting'];

/** @param {MixTunnelOptions} options */
function adopt(options) {
  const tunnel = new MixTunnel(options);
  tunnel.client = client;
  for (const name of ['statechange', 'progress', 'stats', 'log']) {
    tunnel.events.addEventListener(name, (event) => {
      if (shared?.tunnel === tunnel) tunnelEvents.dispatchEvent(copyEvent(/** @type {CustomEvent} */ (event)));
    });
  }
  return { tunnel, options: { ...options } };
}

/** @param {CustomEvent} event */
const copyEvent = (event) => new CustomEvent(event.type, { detail: event.detail });

/** Closes the shared tunnel. Without one it does nothing. @returns {Promise<void>} */
export async function disconnectMixTunnel() {
  await shared?.tunnel.disconnect();
}

/** @returns {Promise<TunnelState>} */
export async function getTunnelState() {
  return (shared?.tunnel ?? idle).getState();
}

/** Gateway, exit, addresses, versions and crypto provider of the ready tunnel. @returns {Promise<TunnelInfo>} */
export async function getTunnelInfo() {
  return (shared?.tunnel ?? idle).getInfo();
}

/** Counters of every layer. @returns {Promise<TunnelStats>} */
export async function getTunnelStats() {
  return (shared?.tunnel ?? idle).getStats();
}

/**
 * `fetch` through the mixnet; never falls back to the clear net.
 *
 * @param {RequestInfo | URL} input
 * @param {MixFetchInit} [init]
 * @returns {Promise<Response>}
 */
export async function mixFetch(input, init) {
  return (shared?.tunnel ?? idle).mixFetch(input, init);
}

/**
 * The address of a name, asked through the mixnet; with `all` every address with its family and time to live.
 *
 * @overload
 * @param {string} host
 * @param {MixResolveOptions & {all: true}} options
 * @returns {Promise<MixAddress[]>}
 *
 * @overload
 * @param {string} host
 * @param {MixResolveOptions & {all?: false}} [options]
 * @returns {Promise<string>}
 *
 * @param {string} host
 * @param {any} [options]
 * @returns {Promise<string | MixAddress[]>}
 */
export async function mixResolve(host, options) {
  return (shared?.tunnel ?? idle).mixResolve(host, options);
}

/** The name that the other mixnet packages have for `mixResolve`. */
export const mixDNS = mixResolve;

/**
 * A WebSocket through the mixnet; the same as `new MixWebSocket(url, protocols, options)`.
 *
 * @param {string | URL} url
 * @param {string | string[]} [protocols]
 * @param {MixSocketOptions} [options]
 * @returns {MixWebSocket}
 */
export function mixSocket(url, protocols, options) {
  return new MixWebSocket(url, protocols, options);
}

const client = new MixClient(() => (shared?.tunnel ?? idle).ready());

/**
 * Raw messages over the shared tunnel's gateway, across all its lives.
 *
 * @type {MixClientType}
 */
export const mixClient = client;

/** Stands for the shared tunnel before there is one; every call on it fails as it should. */
const idle = new MixTunnel();

sharedBySockets.ready = () => (shared?.tunnel ?? idle).ready('socket');

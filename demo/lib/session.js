/**
 * The page's one tunnel, as the panels see it: its state, and a log that they write to as well.
 *
 * @module
 */

/** @import {MixTunnelOptions, TunnelInfo, TunnelLog, TunnelState} from '../../worker/smolmix.js' */

import { disconnectMixTunnel, getTunnelInfo, setupMixTunnel, tunnelEvents } from '../../worker/smolmix.js';

/** @typedef {TunnelState['state']} State */

/** @type {Record<State, string>} */
export const STATE_WORDS = {
  idle: 'not connected',
  connecting: 'connecting',
  ready: 'ready',
  reconnecting: 'reconnecting',
  shutting_down: 'disconnecting',
  shutdown: 'disconnected',
  failed: 'failed',
};

/** Events: `state` (whenever it changed), `info` (what the tunnel is made of became known), `log`. */
class Session extends EventTarget {
  /** @type {State} */
  state = 'idle';
  reason = '';
  /** Known while the tunnel is up. @type {TunnelInfo | null} */
  info = null;
  /** Number of set-ups; counters start anew with each. */
  life = 0;

  constructor() {
    super();
    tunnelEvents.addEventListener('statechange', (event) => {
      const { state, reason } = /** @type {CustomEvent<TunnelState>} */ (event).detail;
      this.state = state;
      this.reason = reason;
      if (state === 'connecting') this.life += 1;
      if (this.isDown) this.info = null;
      this.log(state === 'failed' ? 'error' : 'info', 'state', `${STATE_WORDS[state]}: ${reason}`);
      this.dispatchEvent(new Event('state'));
      if (state === 'ready') this.#refresh();
    });
    tunnelEvents.addEventListener('log', (event) => {
      const { level, layer, message } = /** @type {CustomEvent<TunnelLog>} */ (event).detail;
      this.log(level, layer, message);
    });
  }

  /** Requests can be made; while it reconnects they wait. */
  get isUp() {
    return this.state === 'ready' || this.state === 'reconnecting';
  }

  /** A set-up can be made. */
  get isDown() {
    return this.state === 'idle' || this.state === 'shutdown' || this.state === 'failed';
  }

  /** @param {MixTunnelOptions} options */
  async setUp(options) {
    await setupMixTunnel(options);
    await this.#refresh();
  }

  disconnect() {
    return disconnectMixTunnel();
  }

  /** Calls at once, and whenever the state changes. @param {() => void} listener */
  onState(listener) {
    this.addEventListener('state', listener);
    listener();
  }

  /** @param {TunnelLog['level']} level @param {string} layer @param {string} message */
  log(level, layer, message) {
    this.dispatchEvent(new CustomEvent('log', { detail: { level, layer, message } }));
  }

  /** The gateway or the exit may be another one after a reconnection. */
  async #refresh() {
    try {
      this.info = await getTunnelInfo();
    } catch {
      return; // gone again; its state tells why
    }
    this.dispatchEvent(new Event('info'));
  }
}

export const session = new Session();

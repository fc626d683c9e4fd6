/**
 * Stands for smolmix.js in the pages of the documentation: every tunnel leads into the local network, whatever the
 * example asks for. The test fills in where that is.
 */
import * as real from './smolmix.real.js';
export * from './smolmix.real.js';

const network = /*NETWORK*/ {};

/** Several tunnels that send all the time are too much for a machine that runs other tests beside. */
const quiet = { disablePoissonTraffic: true, disableCoverTraffic: true };

export const setupMixTunnel = (options = {}) => real.setupMixTunnel({ ...options, ...quiet, ...network });

export class MixTunnel extends real.MixTunnel {
  constructor(options = {}) {
    super({ ...options, ...quiet, ...network });
  }
}

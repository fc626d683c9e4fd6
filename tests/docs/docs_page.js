/**
 * Stands for smolmix.js in the pages of the documentation: every tunnel leads into the local network, whatever the
 * example asks for. The test fills in where that is.
 */
import * as real from './smolmix.real.js';
export * from './smolmix.real.js';

const network = /*NETWORK*/ {};

export const setupMixTunnel = (options = {}) => real.setupMixTunnel({ ...options, ...network });

export class MixTunnel extends real.MixTunnel {
  constructor(options = {}) {
    super({ ...options, ...network });
  }
}

/**
 * One client id, one tunnel: a gateway refuses a second connection with the same keys. A tab that finds the client
 * id in use takes the next free one of `<id>.2`, `<id>.3` and so on, each with keys of its own that persist.
 *
 * @module
 */

const MOST = 64;

/**
 * What a tunnel holds while it runs. `release` resolves when the next tunnel can have the id.
 *
 * @typedef {{clientId: string, release: () => Promise<void>}} Claim
 */

/**
 * Takes the first client id that no other tunnel of this origin has.
 *
 * @param {string} wanted
 * @returns {Promise<Claim>} without Web Locks (a page that is neither https nor local), always the wanted one
 */
export async function claimClientId(wanted) {
  for (let number = 1; number <= MOST && globalThis.navigator?.locks; number += 1) {
    const clientId = number === 1 ? wanted : `${wanted}.${number}`;
    const release = await lock(`smolmix-web ${clientId}`);
    if (release) return { clientId, release };
  }
  return { clientId: wanted, release: async () => {} };
}

/**
 * @param {string} name
 * @returns {Promise<(() => Promise<void>) | null>} gives the lock back; null: somebody else has it
 */
function lock(name) {
  return new Promise((resolve) => {
    const held = navigator.locks
      .request(name, { ifAvailable: true }, (granted) => {
        if (!granted) return resolve(null);
        return new Promise((/** @type {(value: void) => void} */ give) => {
          resolve(() => {
            give();
            return held;
          });
        });
      })
      // Storage is forbidden here (a sandboxed frame); then there is nothing to share either.
      .catch(() => resolve(async () => {}));
  });
}

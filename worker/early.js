/**
 * The directory's first answers, asked for while Python starts.
 *
 * @module
 */

/** As in smolmix_web/platform/browser.py: nothing of the page goes along. @type {RequestInit} */
const REQUEST = {
  headers: { Accept: 'application/json' },
  credentials: 'omit',
  referrerPolicy: 'no-referrer',
  cache: 'no-store',
};

/** An answer older than this is not used, milliseconds: set-up may come long after the boot. */
const FRESH = 60_000;

/**
 * @param {string} base URL of the directory
 * @param {readonly string[]} paths
 * @returns {(url: string) => Promise<Response> | undefined} gives each answer away once
 */
export function askEarly(base, paths) {
  /** @type {Map<string, Promise<Response>>} */
  const answers = new Map();
  for (const path of paths) {
    const url = `${base.replace(/\/*$/, '/')}${path}`;
    const answer = fetch(url, REQUEST);
    // Whoever takes it is told; a failure that nobody asked for is none.
    answer.catch(() => {});
    answers.set(url, answer);
  }
  const until = performance.now() + FRESH;
  return (url) => {
    const answer = performance.now() < until ? answers.get(url) : undefined;
    answers.delete(url);
    return answer;
  };
}

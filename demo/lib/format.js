/**
 * Numbers for people.
 *
 * @module
 */

/** @param {number} milliseconds */
export function duration(milliseconds) {
  return milliseconds < 1000 ? `${milliseconds.toFixed(0)} ms` : `${(milliseconds / 1000).toFixed(2)} s`;
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} ${bytes === 1 ? 'byte' : 'bytes'}`;
  if (bytes < 1e6) return `${(bytes / 1000).toFixed(1)} kB`;
  return `${(bytes / 1e6).toFixed(2)} MB`;
}

/** @param {number} value */
export const whole = (value) => Math.round(value).toLocaleString('en');

/** A rate, with a decimal while it is small. @param {number} value */
export const rate = (value) => (value > 0 && value < 9.95 ? value.toFixed(1) : whole(value));

/** @param {Date} [date] */
export const clock = (date = new Date()) => date.toLocaleTimeString('en-GB');

/**
 * Brotli for the worker: a WebAssembly decoder of npm behind four names that Python calls.
 *
 * Browsers decode `br` for `fetch` only, and the worker's bodies never pass there. The bundle is loaded with the first
 * response that needs it.
 *
 * @module
 */

import { BrotliDecStream, BrotliStreamResultCode, initSync } from 'brotli-dec-wasm/web';
// @ts-expect-error: esbuild's binary loader gives the file's bytes, not what the package's types say.
import wasm from 'brotli-dec-wasm/web/bg.wasm';

initSync({ module: wasm });

/** One body. `consumed` and `finished` tell of the last call of `process`. */
class Decoder {
  consumed = 0;
  finished = false;
  #stream = new BrotliDecStream();

  /**
   * @param {Uint8Array} input
   * @param {number} limit bytes of output at most
   * @returns {Uint8Array}
   * @throws if the input is damaged
   */
  process(input, limit) {
    const result = this.#stream.dec(input, limit);
    this.consumed = result.input_offset;
    this.finished = result.code === BrotliStreamResultCode.ResultSuccess;
    const output = result.buf;
    result.free();
    return output;
  }

  free() {
    this.#stream.free();
  }
}

export const makeDecoder = () => new Decoder();

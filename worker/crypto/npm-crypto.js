/**
 * The boundary between Python's `NpmProvider` and the primitives: numbers cross it, bytes do not.
 *
 * Handing a `bytes` object to JavaScript, or a Uint8Array to Python, costs more than many of the operations. So
 * Python owns one bytearray, the *scratch*, and JavaScript looks into it. A call finds its arguments one after the
 * other from the start of the scratch, is given their lengths where these vary, writes its result to the start, and
 * returns the length of the result, or -1 if something does not verify or cannot be used.
 *
 * @module
 */

import {
  AEADS,
  aesCtr,
  argon2id,
  blake3,
  chacha20,
  ecdhExchange,
  ecdhPublic,
  ecdsaVerify,
  ed25519Public,
  ed25519Sign,
  ed25519Verify,
  LIONESS_KEY,
  lionessEncrypt,
  mlkem768Decapsulate,
  mlkem768Encapsulate,
  mlkem768Keygen,
  x25519,
  x25519Public,
} from './primitives.js';

/** @import {Bytes, CurveName} from './primitives.js' */

/** A bytearray of Python. @typedef {{getBuffer: (type: 'u8') => {data: Bytes, release: () => void}}} PyBytearray */
/** What a primitive gives: results to be put one after the other, or just "verified". @typedef {Bytes[] | boolean} Result */

const FAILED = -1;

/**
 * The operations over one scratch.
 *
 * @param {PyBytearray} owner held until `release` is called
 */
export function attach(owner) {
  let buffer = owner.getBuffer('u8');

  /** @param {() => Result} primitive */
  const run = (primitive) => {
    try {
      const result = primitive();
      if (typeof result === 'boolean') return result ? 0 : FAILED;
      let end = 0;
      for (const part of result) {
        buffer.data.set(part, end);
        end += part.length;
      }
      return end;
    } catch {
      return FAILED;
    }
  };

  /**
   * Arguments of these lengths, from the start of the scratch. Never kept: a view goes empty when Python's memory grows.
   *
   * @param {number[]} lengths
   */
  const take = (...lengths) => {
    if (buffer.data.length === 0) {
      buffer.release();
      buffer = owner.getBuffer('u8');
    }
    let position = 0;
    return lengths.map((length) => buffer.data.subarray(position, (position += length)));
  };

  return {
    x25519: () =>
      run(() => {
        const [secret, point] = take(32, 32);
        return [x25519(secret, point)];
      }),

    x25519_public: () => run(() => take(32).map(x25519Public)),

    ed25519_public: () => run(() => take(32).map(ed25519Public)),

    /** @param {number} length of the message */
    ed25519_sign: (length) =>
      run(() => {
        const [seed, message] = take(32, length);
        return [ed25519Sign(seed, message)];
      }),

    /** @param {number} length of the message */
    ed25519_verify: (length) =>
      run(() => {
        const [publicKey, signature, message] = take(32, 64, length);
        return ed25519Verify(publicKey, signature, message);
      }),

    /** @param {number} length */
    blake3: (length) => run(() => take(length).map(blake3)),

    /**
     * @param {number} passphraseLength @param {number} saltLength @param {number} secretLength
     * @param {number} associatedLength @param {number} memory KiB @param {number} iterations @param {number} lanes
     * @param {number} length of the result
     */
    argon2id: (passphraseLength, saltLength, secretLength, associatedLength, memory, iterations, lanes, length) =>
      run(() => {
        const [passphrase, salt, secret, associatedData] = take(
          passphraseLength,
          saltLength,
          secretLength,
          associatedLength,
        );
        return [argon2id(passphrase, salt, { memory, iterations, lanes, length, secret, associatedData })];
      }),

    /** @param {number} keyLength @param {number} length */
    aes_ctr: (keyLength, length) =>
      run(() => {
        const [key, counter, data] = take(keyLength, 16, length);
        return [aesCtr(key, counter, data)];
      }),

    /** @param {number} length */
    chacha20: (length) =>
      run(() => {
        const [key, data] = take(32, length);
        return [chacha20(key, data)];
      }),

    /** @param {number} layers @param {number} length of the block */
    lioness_encrypt: (layers, length) =>
      run(() => {
        const [keys, block] = take(layers * LIONESS_KEY, length);
        return lionessEncrypt(keys, block);
      }),

    /** @param {string} name @param {number} keyLength @param {number} associatedLength @param {number} length */
    seal: (name, keyLength, associatedLength, length) =>
      run(() => {
        const [key, nonce, associatedData, plaintext] = take(keyLength, 12, associatedLength, length);
        return [AEADS[name](key, nonce, associatedData).encrypt(plaintext)];
      }),

    /** @param {string} name @param {number} keyLength @param {number} associatedLength @param {number} length */
    open: (name, keyLength, associatedLength, length) =>
      run(() => {
        const [key, nonce, associatedData, ciphertext] = take(keyLength, 12, associatedLength, length);
        return [AEADS[name](key, nonce, associatedData).decrypt(ciphertext)];
      }),

    /** @param {CurveName} curve @param {number} scalarLength */
    ecdh_public: (curve, scalarLength) => run(() => take(scalarLength).map((scalar) => ecdhPublic(curve, scalar))),

    /** @param {CurveName} curve @param {number} scalarLength @param {number} pointLength */
    ecdh_exchange: (curve, scalarLength, pointLength) =>
      run(() => {
        const [scalar, point] = take(scalarLength, pointLength);
        return [ecdhExchange(curve, scalar, point)];
      }),

    /** @param {CurveName} curve @param {number} pointLength @param {number} digestLength @param {number} length of the signature */
    ecdsa_verify: (curve, pointLength, digestLength, length) =>
      run(() => {
        const [point, digest, signature] = take(pointLength, digestLength, length);
        return ecdsaVerify(curve, point, digest, signature);
      }),

    mlkem768_keygen: () =>
      run(() => {
        const { publicKey, secretKey } = mlkem768Keygen(take(64)[0]);
        return [publicKey, secretKey];
      }),

    mlkem768_encapsulate: () =>
      run(() => {
        const [publicKey, seed] = take(1184, 32);
        const { sharedSecret, cipherText } = mlkem768Encapsulate(publicKey, seed);
        return [sharedSecret, cipherText];
      }),

    mlkem768_decapsulate: () =>
      run(() => {
        const [secretKey, ciphertext] = take(2400, 1088);
        return [mlkem768Decapsulate(ciphertext, secretKey)];
      }),

    /** Python is about to let go of the scratch. */
    release: () => buffer.release(),
  };
}

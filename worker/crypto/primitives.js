/**
 * The primitives of smolmix-web that Python's standard library lacks, as plain functions over Uint8Array.
 *
 * Curve25519, ChaCha20, ChaCha20-Poly1305 and the common form of Argon2 come from libsodium (WebAssembly), the rest
 * from the noble packages.
 * Nothing here draws random numbers: keys and seeds are made by the caller. Whatever does not verify or has a
 * wrong length throws; the texts of these errors are never shown.
 *
 * @module
 */

import { ctr, gcm, gcmsiv } from '@noble/ciphers/aes.js';
import { p256, p384 } from '@noble/curves/nist.js';
import { argon2id as nobleArgon2id } from '@noble/hashes/argon2.js';
import { blake3 as nobleBlake3 } from '@noble/hashes/blake3.js';
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js';
import sodium from 'libsodium-wrappers-sumo';

await sodium.ready;

const CURVES = { p256, p384 };
const ZERO_NONCE = new Uint8Array(12);

/** @typedef {Uint8Array} Bytes */
/** @typedef {keyof typeof CURVES} CurveName */
/** @typedef {{encrypt: (plaintext: Bytes) => Bytes, decrypt: (ciphertext: Bytes) => Bytes}} Cipher */

/** @param {Bytes} secret @param {Bytes} point @throws the result is all zero */
export const x25519 = (secret, point) => sodium.crypto_scalarmult(secret, point);

/** @param {Bytes} secret */
export const x25519Public = (secret) => sodium.crypto_scalarmult_base(secret);

/** @param {Bytes} seed 32 bytes */
export const ed25519Public = (seed) => sodium.crypto_sign_seed_keypair(seed).publicKey;

/** @param {Bytes} seed 32 bytes @param {Bytes} message */
export const ed25519Sign = (seed, message) =>
  sodium.crypto_sign_detached(message, sodium.crypto_sign_seed_keypair(seed).privateKey);

/** @param {Bytes} publicKey @param {Bytes} signature @param {Bytes} message */
export const ed25519Verify = (publicKey, signature, message) =>
  sodium.crypto_sign_verify_detached(signature, message, publicKey);

/** @param {Bytes} data */
export const blake3 = (data) => nobleBlake3(data);

/**
 * libsodium is some eight times faster, but knows one lane, salts of 16 bytes and no secret only.
 *
 * @param {Bytes} passphrase @param {Bytes} salt
 * @param {{memory: number, iterations: number, lanes: number, length: number, secret: Bytes, associatedData: Bytes}} options
 *     memory in KiB
 */
export const argon2id = (passphrase, salt, { memory, iterations, lanes, length, secret, associatedData }) =>
  lanes === 1 && salt.length === 16 && length >= 16 && secret.length + associatedData.length === 0
    ? sodium.crypto_pwhash(length, passphrase, salt, iterations, memory * 1024, sodium.crypto_pwhash_ALG_ARGON2ID13)
    : nobleArgon2id(passphrase, salt, {
        m: memory,
        t: iterations,
        p: lanes,
        dkLen: length,
        key: secret,
        personalization: associatedData,
      });

/** @param {Bytes} key @param {Bytes} counter first block, 16 bytes @param {Bytes} data */
export const aesCtr = (key, counter, data) => ctr(key, counter).encrypt(data);

/** Zero nonce, counter from zero. @param {Bytes} key @param {Bytes} data */
export const chacha20 = (key, data) => sodium.crypto_stream_chacha20_ietf_xor(data, ZERO_NONCE, key);

/** Bytes of the key of one layer. */
export const LIONESS_KEY = 192;
/** Bytes of a block's shorter half. */
const LEFT = 32;

/**
 * LIONESS over ChaCha20 and keyed BLAKE2b, as in smolmix_web/crypto/lioness.py.
 *
 * @param {Bytes} keys one after the other, the innermost layer's first
 * @param {Bytes} block longer than 32 bytes
 * @returns {Bytes[]} the two halves
 */
export function lionessEncrypt(keys, block) {
  let left = block.slice(0, LEFT);
  let right = block.subarray(LEFT);
  for (let at = 0; at < keys.length; at += LIONESS_KEY) {
    for (let half = at; half < at + LIONESS_KEY; half += LIONESS_KEY / 2) {
      const hashKey = keys.subarray(half + LEFT, half + LIONESS_KEY / 2);
      right = chacha20(xor(left, keys.subarray(half, half + LEFT)), right);
      left = xor(left, sodium.crypto_generichash(LEFT, right, hashKey));
    }
  }
  return [left, right];
}

/** @param {Bytes} one @param {Bytes} other */
const xor = (one, other) => one.map((byte, index) => byte ^ other[index]);

/** One AEAD for one nonce. @type {Record<string, (key: Bytes, nonce: Bytes, associatedData: Bytes) => Cipher>} */
export const AEADS = {
  'aes-128-gcm': gcm,
  'aes-256-gcm': gcm,
  'aes-256-gcm-siv': gcmsiv,
  'chacha20-poly1305': (key, nonce, associatedData) => ({
    encrypt: (plaintext) =>
      sodium.crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, associatedData, null, nonce, key),
    decrypt: (ciphertext) =>
      sodium.crypto_aead_chacha20poly1305_ietf_decrypt(null, ciphertext, associatedData, nonce, key),
  }),
};

/** @param {CurveName} curve @param {Bytes} scalar big-endian @returns uncompressed point */
export const ecdhPublic = (curve, scalar) => CURVES[curve].getPublicKey(scalar, false);

/** @param {CurveName} curve @param {Bytes} scalar @param {Bytes} point uncompressed @returns x coordinate */
export const ecdhExchange = (curve, scalar, point) => CURVES[curve].getSharedSecret(scalar, point, true).slice(1);

/** @param {CurveName} curve @param {Bytes} point @param {Bytes} digest hash of the message @param {Bytes} signature DER */
export const ecdsaVerify = (curve, point, digest, signature) =>
  CURVES[curve].verify(signature, digest, point, { prehash: false, lowS: false, format: 'der' });

/** @param {Bytes} seed d || z, 64 bytes @returns {{publicKey: Bytes, secretKey: Bytes}} 1,184 and 2,400 bytes */
export const mlkem768Keygen = (seed) => ml_kem768.keygen(seed);

/** @param {Bytes} publicKey @param {Bytes} seed m, 32 bytes */
export const mlkem768Encapsulate = (publicKey, seed) => ml_kem768.encapsulate(publicKey, seed);

/** @param {Bytes} ciphertext @param {Bytes} secretKey */
export const mlkem768Decapsulate = (ciphertext, secretKey) => ml_kem768.decapsulate(ciphertext, secretKey);

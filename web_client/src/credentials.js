/** Tokens, and asking for them again. */

import { CallreelError } from "./errors.js";

/** @typedef {string | ((refused?: string) => string | Promise<string>)} Token */
/** @typedef {(refused?: string) => Promise<string>} TokenSource told which token the server did not take, if one */

/** A bearer token that can be asked for again, where a function was given. */
export class Credentials {
  /** @type {Token} */ #token;
  /** @type {Promise<string> | null} */ #current = null;

  /** @param {Token} token */
  constructor(token) {
    this.#token = token;
  }

  get renewable() {
    return typeof this.#token === "function";
  }

  forget() {
    this.#current = null;
  }

  /** @type {TokenSource} */
  async get(refused) {
    const token = this.#token;
    if (typeof token === "string") return token;
    // Three uploads that are refused at once ask for one new token, not for three.
    if (refused !== undefined && (await this.#current?.catch(() => null)) === refused) this.#current = null;
    const asked = (this.#current ??= Promise.resolve().then(() => token(refused)));
    try {
      return await asked;
    } catch (cause) {
      if (this.#current === asked) this.#current = null;
      throw new CallreelError("token", "The page gave no token.", { retryable: true, cause });
    }
  }
}

/** Everything that goes wrong here, as one class: a sentence for people, a code for programs. */

/** A refusal, or that no answer came. `retryable` tells whether the same request may succeed later. */
export class CallreelError extends Error {
  /**
   * @param {string} code stable, as in the contract; `network`, `timeout`, `aborted`, `token` are the client's own
   * @param {string} message
   * @param {{ status?: number, retryable?: boolean, retryAfterMs?: number, fromServer?: boolean, cause?: unknown, problem?: Record<string, any> }} [about]
   */
  constructor(code, message, about = {}) {
    super(message, { cause: about.cause });
    this.name = "CallreelError";
    this.code = code;
    this.status = about.status ?? 0;
    this.retryable = about.retryable ?? false;
    this.retryAfterMs = about.retryAfterMs ?? 0;
    /** Callreel itself said so, not something between it and this browser. */
    this.fromServer = about.fromServer ?? false;
    this.problem = about.problem ?? {};
  }
}

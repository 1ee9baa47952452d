/**
 * The client of the shop's HTTP API. The session is a cookie that scripts cannot read.
 * @module
 */

/** @typedef {{amount_minor: number, currency: string}} Money */
/** @typedef {{sku: string, name: string, quantity: number, price: Money}} Line */
/** @typedef {{lines: Line[], total: Money, version: number}} Cart */
/** @typedef {{user_id: string, email: string, name: string}} Me */

/** The timeout of a request. It is longer than any intended wait of the shop. */
const WAIT_MAX_MS = 15_000;

/** A refusal by the shop (RFC 9457). */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {{code?: string, detail?: string, errors?: {pointer: string, message: string}[]}} body
   * @param {number} retryAfter seconds, 0 if the reply has no such header
   */
  constructor(status, body, retryAfter) {
    super(body.detail || `The shop answered ${status}.`);
    this.status = status;
    this.code = body.code ?? "";
    this.errors = body.errors ?? [];
    this.retryAfter = retryAfter;
  }
}

/** A request without a reply. It is unknown whether the shop carried it out. */
export class Unreachable extends Error {}

/**
 * Sends a request and returns the JSON body, or `null` if there is none.
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {Record<string, string>} [headers]
 * @throws {Problem | Unreachable}
 */
export async function call(method, path, body, headers = {}) {
  const init = { method, headers: { Accept: "application/json", ...headers }, signal: AbortSignal.timeout(WAIT_MAX_MS) };
  if (body !== undefined) {
    init.headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  const [response, text] = await send(path, init);
  const answer = parse(text);
  if (!response.ok) {
    throw new Problem(response.status, answer ?? {}, Number(response.headers.get("Retry-After")) || 0);
  }
  return answer;
}

/** Sends a request and reads the complete body. A reply that breaks off counts as none. */
async function send(path, init) {
  try {
    const response = await fetch(path, init);
    return [response, await response.text()];
  } catch (cause) {
    throw new Unreachable("The shop could not be reached.", { cause });
  }
}

function parse(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}

/** @param {string} path */
export const get = (path) => call("GET", path);

/**
 * The shop's HTTP API, same-origin. The session is a cookie that scripts cannot read.
 * @module
 */

/** @typedef {{amount_minor: number, currency: string}} Money */
/** @typedef {{sku: string, name: string, quantity: number, price: Money}} Line */
/** @typedef {{lines: Line[], total: Money, version: number}} Cart */
/** @typedef {{user_id: string, email: string, name: string}} Me */

/** No answer in this time counts as none: longer than any planned wait of the shop. */
const WAIT_MAX_MS = 15_000;

/** An answer that says no (RFC 9457). */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {{code?: string, detail?: string, errors?: {pointer: string, message: string}[]}} body
   * @param {number} retryAfter seconds, 0 if the answer does not say
   */
  constructor(status, body, retryAfter) {
    super(body.detail || `The shop answered ${status}.`);
    this.status = status;
    this.code = body.code ?? "";
    this.errors = body.errors ?? [];
    this.retryAfter = retryAfter;
  }
}

/** No answer at all: whether the request was carried out is unknown. */
export class Unreachable extends Error {}

/**
 * Calls the API and returns the JSON body, or `null` where there is none.
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

/** Sends, and reads the whole body: a cut-off answer is no answer. */
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

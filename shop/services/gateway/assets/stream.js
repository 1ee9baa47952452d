/**
 * The live stream of the visitor's orders (`GET /api/v1/stream`).
 * @module
 */

/** @typedef {{order_id: string, status: string, reason?: string, payment_delayed: boolean, updated_at: string}} Change */

/** The pause before a new connection after a refusal, which ends the browser's own reconnection. */
const AGAIN_MS = 3_000;

/**
 * Follows the stream while the page is visible. Browsers limit the connections per site, so a hidden
 * tab must not keep one.
 * @param {{onChange: (change: Change) => void, onOpen: () => void}} listener
 *   `onOpen` is called for each (re)connection, before which changes can have been missed
 * @returns {{isOpen: () => boolean, close: () => void}}
 */
export function follow({ onChange, onOpen }) {
  /** @type {EventSource | null} */
  let source = null;
  let timer = 0;

  const connect = () => {
    clearTimeout(timer);
    source?.close();
    source = new EventSource("/api/v1/stream");
    source.addEventListener("open", onOpen);
    source.addEventListener("order", (event) => onChange(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      if (source?.readyState === EventSource.CLOSED) timer = setTimeout(connect, AGAIN_MS);
    });
  };
  const disconnect = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
  const look = () => {
    if (document.visibilityState === "hidden") disconnect();
    else if (!source) connect();
  };

  document.addEventListener("visibilitychange", look);
  window.addEventListener("pagehide", disconnect);
  window.addEventListener("pageshow", look);
  look();
  return {
    isOpen: () => source?.readyState === EventSource.OPEN,
    close: () => {
      disconnect();
      document.removeEventListener("visibilitychange", look);
      window.removeEventListener("pageshow", look);
    },
  };
}

/**
 * The live feed of the visitor's own orders (GET /api/v1/stream).
 * @module
 */

/** @typedef {{order_id: string, status: string, reason?: string, payment_delayed: boolean, updated_at: string}} Change */

/** The browser reconnects after a cut by itself, but gives up after a refusal: then we try again. */
const AGAIN_MS = 3_000;

/**
 * Follows the feed while the page is seen: browsers allow few connections a site, and a hidden tab
 * that keeps one starves the others.
 * @param {{onChange: (change: Change) => void, onOpen: () => void}} listener
 *   `onOpen` hears of every (re)connection: changes before it may have been missed
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

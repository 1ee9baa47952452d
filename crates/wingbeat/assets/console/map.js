/**
 * The map: the arrows of the service that is pointed at or focused stand out.
 * @module
 */

export function startMap() {
  for (const map of document.querySelectorAll("[data-map]")) start(map);
}

function start(map) {
  const choose = (event) => {
    const name = event.target.closest("[data-node]")?.dataset.node;
    if (!name) {
      map.removeAttribute("data-chosen");
      return;
    }
    map.dataset.chosen = name;
    for (const edge of map.querySelectorAll(".edge")) {
      edge.toggleAttribute("data-on", edge.dataset.from === name || edge.dataset.to === name);
    }
  };
  map.addEventListener("pointerover", choose);
  map.addEventListener("focusin", choose);
  for (const leaves of ["pointerleave", "focusout"]) {
    map.addEventListener(leaves, () => map.removeAttribute("data-chosen"));
  }
}

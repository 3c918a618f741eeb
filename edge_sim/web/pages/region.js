// Editor of a region and its mask, on a picture that goes on changing: by mouse, finger or keyboard.

import { button, percent } from "./components.js";
import { fill, h } from "./dom.js";
import { formatNumber, t } from "./i18n.js";

const LEAST = 0.02;
const MASK_PX = 192;
const STEP = 0.01;
const EDGES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

// Editor: `element`, `image` (its `src` is the caller's), `value()` -> {region, mask}. `changed` is
// called after every change. `region` is [x, y, width, height] in fractions or null (whole picture);
// the mask is drawn over the region: true where hidden.
export function regionEditor({ region = null, maskUrl = null, ratio = null, changed }) {
  const image = h("img", { alt: t("region.alt"), draggable: "false" });
  const mask = maskCanvas(() => changed());
  const handles = EDGES.map((edge) => h("i", { class: `handle ${edge}`, data: { edge } }));
  const box = h(
    "div",
    { class: "edit-box", tabindex: "0", role: "application", "aria-label": t("region.box"), "aria-describedby": "region-keys", onkeydown: onKey },
    mask.canvas,
    handles,
  );
  const stage = h("div", { class: "stage picture" }, image, box);
  if (ratio) stage.style.setProperty("aspect-ratio", String(ratio)); // nothing moves when the picture comes
  const numbers = h("output", { class: "muted", "aria-live": "polite" });
  let drag = null;

  function place(next) {
    region = next;
    const [x, y, width, height] = next ?? [0, 0, 1, 1];
    for (const [key, value] of Object.entries({ left: x, top: y, width, height })) box.style.setProperty(key, percent(value));
    box.classList.toggle("whole", next === null);
    numbers.textContent = next
      ? t("region.numbers", { x: percentText(x), y: percentText(y), width: percentText(width), height: percentText(height) })
      : t("region.whole.now");
  }

  function at(event) {
    const frame = stage.getBoundingClientRect();
    return [clamp((event.clientX - frame.left) / frame.width, 0, 1), clamp((event.clientY - frame.top) / frame.height, 0, 1)];
  }

  function onDown(event) {
    if (event.button > 0 || mask.painting()) return;
    const start = at(event);
    const edge = event.target.dataset?.edge ?? (region && inside(region, start) ? "move" : "new");
    drag = { edge, start, region: region ?? [...start, 0, 0] };
    stage.setPointerCapture(event.pointerId);
    box.focus({ preventScroll: true });
    event.preventDefault();
  }

  function onMove(event) {
    if (!drag) return;
    const [x, y] = at(event);
    const moved = dragged(drag, x, y);
    if (drag.edge !== "new" || Math.max(moved[2], moved[3]) > LEAST) place(moved);
  }

  function onUp() {
    if (!drag) return;
    drag = null;
    changed();
  }

  function onKey(event) {
    const arrow = ARROWS[event.key];
    if (!arrow || event.altKey || event.metaKey || mask.painting()) return;
    event.preventDefault();
    const [x, y, width, height] = region ?? [0.25, 0.25, 0.5, 0.5];
    const [dx, dy] = arrow.map((sign) => sign * (event.ctrlKey ? STEP / 5 : STEP));
    if (event.shiftKey) place([x, y, clamp(width + dx, LEAST, 1 - x), clamp(height + dy, LEAST, 1 - y)]);
    else place([clamp(x + dx, 0, 1 - width), clamp(y + dy, 0, 1 - height), width, height]);
    changed();
  }

  stage.addEventListener("pointerdown", onDown);
  stage.addEventListener("pointermove", onMove);
  stage.addEventListener("pointerup", onUp);
  stage.addEventListener("pointercancel", onUp);
  const whole = button(t("region.whole"), () => {
    place(null);
    changed();
  }, { class: "small" });
  const tools = h("div", { class: "actions tools" }, maskTools(mask, box), whole);
  place(region);
  if (maskUrl) mask.load(maskUrl);
  return {
    image,
    element: h("div", { class: "editor" }, stage, tools, h("p", { class: "under-stage" }, numbers, " ", h("small", { id: "region-keys" }, t("region.keys")))),
    value: () => ({ region: region ?? [0, 0, 1, 1], mask: mask.value() }),
  };
}

const percentText = (share) => formatNumber(share * 100, 1);

function inside([x, y, width, height], [px, py]) {
  return px >= x && px <= x + width && py >= y && py <= y + height;
}

// The region while it is dragged: a corner or edge, the whole of it, or a new one from its first corner.
function dragged({ edge, start, region: [x, y, width, height] }, px, py) {
  if (edge === "move") {
    return [clamp(x + px - start[0], 0, 1 - width), clamp(y + py - start[1], 0, 1 - height), width, height];
  }
  if (edge === "new") return [Math.min(start[0], px), Math.min(start[1], py), Math.abs(px - start[0]), Math.abs(py - start[1])];
  let [left, top, right, bottom] = [x, y, x + width, y + height];
  if (edge.includes("w")) left = clamp(px, 0, right - LEAST);
  if (edge.includes("e")) right = clamp(px, left + LEAST, 1);
  if (edge.includes("n")) top = clamp(py, 0, bottom - LEAST);
  if (edge.includes("s")) bottom = clamp(py, top + LEAST, 1);
  return [left, top, right - left, bottom - top];
}

// Canvas over the region: what is painted is hidden from the model.
function maskCanvas(changed) {
  const canvas = h("canvas", { class: "mask", width: MASK_PX, height: MASK_PX, "aria-hidden": "true" });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const state = { tool: null, size: 0.12, last: null, spot: [0.5, 0.5] };

  function dot([x, y]) {
    const radius = (state.size * MASK_PX) / 2;
    pen.globalCompositeOperation = state.tool === "show" ? "destination-out" : "source-over";
    pen.lineCap = "round";
    pen.lineWidth = radius * 2;
    const [fromX, fromY] = state.last ?? [x, y];
    pen.beginPath();
    pen.moveTo(fromX * MASK_PX, fromY * MASK_PX);
    pen.lineTo(x * MASK_PX + 0.01, y * MASK_PX);
    pen.stroke();
    state.last = [x, y];
  }

  function at(event) {
    const frame = canvas.getBoundingClientRect();
    return [(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height];
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (!state.tool || event.button > 0) return;
    canvas.setPointerCapture(event.pointerId);
    state.last = null;
    dot(at(event));
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => state.tool && state.last && dot(at(event)));
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, () => {
      if (state.last) changed();
      state.last = null;
    });
  }

  return {
    canvas,
    state,
    painting: () => state.tool !== null,
    // With the keyboard: arrows move a spot, space paints it.
    key(event) {
      const arrow = ARROWS[event.key];
      if (arrow) state.spot = state.spot.map((value, axis) => clamp(value + arrow[axis] * 0.04, 0, 1));
      else if (event.key !== " ") return;
      event.preventDefault();
      canvas.style.setProperty("--spot-x", percent(state.spot[0]));
      canvas.style.setProperty("--spot-y", percent(state.spot[1]));
      if (arrow) return;
      state.last = null;
      dot(state.spot);
      state.last = null;
      changed();
    },
    clear() {
      pen.clearRect(0, 0, MASK_PX, MASK_PX);
      changed();
    },
    load(url) {
      const picture = h("img", { src: url, alt: "" });
      picture.onload = () => {
        pen.drawImage(picture, 0, 0, MASK_PX, MASK_PX);
        const pixels = pen.getImageData(0, 0, MASK_PX, MASK_PX);
        for (let i = 0; i < pixels.data.length; i += 4) {
          const hidden = pixels.data[i] < 128;
          pixels.data.set([0, 0, 0, hidden ? 255 : 0], i);
        }
        pen.putImageData(pixels, 0, 0);
        changed();
      };
    },
    // Base64 of a PNG, black where hidden; null where nothing is.
    value() {
      const { data } = pen.getImageData(0, 0, MASK_PX, MASK_PX);
      if (!data.some((level, place) => place % 4 === 3 && level > 127)) return null;
      const sheet = h("canvas", { width: MASK_PX, height: MASK_PX });
      const paint = sheet.getContext("2d");
      paint.fillStyle = "#fff";
      paint.fillRect(0, 0, MASK_PX, MASK_PX);
      paint.drawImage(canvas, 0, 0);
      return sheet.toDataURL("image/png").split(",")[1];
    },
  };
}

function maskTools(mask, box) {
  const tools = { null: "region.tool.box", hide: "region.tool.hide", show: "region.tool.show" };
  const size = h("input", { type: "range", min: "0.03", max: "0.4", step: "0.01", value: "0.12", "aria-label": t("region.brush"), oninput: () => (mask.state.size = Number(size.value)) });
  const more = h("span", { class: "actions" }, size, button(t("region.clear"), () => mask.clear(), { class: "small" }));
  const buttons = Object.entries(tools).map(([tool, label]) => button(t(label), () => choose(tool), { class: "small", data: { tool } }));

  function choose(tool) {
    mask.state.tool = tool === "null" ? null : tool;
    for (const item of buttons) item.setAttribute("aria-pressed", String(item.dataset.tool === tool));
    box.classList.toggle("painting", mask.painting());
    more.hidden = !mask.painting();
    if (mask.painting()) box.focus({ preventScroll: true });
  }

  box.addEventListener("keydown", (event) => mask.painting() && mask.key(event));
  choose("null");
  return fill(h("div", { class: "actions", role: "group", "aria-label": t("region.tools") }), buttons, more);
}

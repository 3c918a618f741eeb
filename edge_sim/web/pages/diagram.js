// Maps of points, and small diagrams with two axes: lines and bars, for curves of a calibration or an evaluation.
//
// {title, x: {label, low, high, digits}, y: {...}, series: [{name, points: [[x, y]], colour, bar,
// dashed}], marks: [[x, text]]}; `bar` is the width of a bar in units of x, 0 or absent for a line.

import { h } from "./dom.js";
import { formatNumber } from "./i18n.js";

const WIDTH = 360;
const HEIGHT = 250;
const BOX = { left: 44, right: 348, top: 34, bottom: 212 };
const TICKS = 5;

export function diagram({ title, x, y, series, marks = [] }) {
  const across = scale(x, BOX.left, BOX.right);
  const up = scale(y, BOX.bottom, BOX.top);
  const name = `${title}: ${x.label}, ${y.label}`;
  return h(
    "figure",
    { class: "diagram" },
    h("figcaption", {}, h("b", {}, title), diagramLegend(series)),
    h(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": name },
      h("rect", { x: BOX.left, y: BOX.top, width: BOX.right - BOX.left, height: BOX.bottom - BOX.top, class: "d-panel" }),
      grid(x, across, (at, text) => [line(at, BOX.top, at, BOX.bottom, "d-grid"), label(at, BOX.bottom + 15, text, "middle")]),
      grid(y, up, (at, text) => [line(BOX.left, at, BOX.right, at, "d-grid"), label(BOX.left - 5, at + 4, text, "end")]),
      series.map((one) => (one.bar ? bars : curve)(one, across, up)),
      marks.map(([value, text]) => mark(across(value), text)),
      label((BOX.left + BOX.right) / 2, HEIGHT - 8, x.label, "middle"),
      label(4, BOX.top - 12, y.label, "start"),
    ),
  );
}

const scale = ({ low, high }, start, end) => (value) => start + ((Math.min(high, Math.max(low, value)) - low) / (high - low || 1)) * (end - start);

function grid(axis, place, make) {
  const values = Array.from({ length: TICKS + 1 }, (_, step) => axis.low + ((axis.high - axis.low) * step) / TICKS);
  return values.map((value) => make(place(value), formatNumber(value, axis.digits ?? 1)));
}

function curve({ points, colour, dashed }, across, up) {
  const path = points.map(([x, y]) => `${across(x).toFixed(1)},${up(y).toFixed(1)}`).join(" ");
  return h("polyline", { points: path, class: `d-line s-${colour}${dashed ? " dashed" : ""}` });
}

function bars({ points, colour, bar }, across, up) {
  return points.map(([x, y]) => {
    const [left, right, top] = [across(x - bar / 2), across(x + bar / 2), up(y)];
    return h("rect", { x: left, y: top, width: Math.max(0, right - left), height: Math.max(0, BOX.bottom - top), class: `d-bar f-${colour}` });
  });
}

function mark(x, text) {
  const late = x > WIDTH / 2;
  return [line(x, BOX.top, x, BOX.bottom, "d-mark"), label(x + (late ? -4 : 4), BOX.top + 12, text, late ? "end" : "start", "d-ink")];
}

const line = (x1, y1, x2, y2, kind) => h("line", { x1, y1, x2, y2, class: kind });
const label = (x, y, text, anchor, kind = "d-text") => h("text", { x, y, "text-anchor": anchor, class: kind }, text);

function diagramLegend(series) {
  const rows = series.filter(({ name }) => name);
  return rows.length ? h("span", { class: "legend" }, rows.map(({ name, colour }) => h("span", { class: "key" }, h("i", { class: `swatch b-${colour}` }), name))) : null;
}

// A map of points at `x` and `y` (0 to 1); `choose` takes the numbers of those inside a lasso.
export function pointMap({ x, y, groups, label, isChosen, choose }) {
  const canvas = h("canvas", { class: "map", width: "900", height: "600", role: "img", "aria-label": label });
  const brush = canvas.getContext("2d");
  const places = x.map((_, at) => [20 + x[at] * 860, 580 - y[at] * 560]);
  let lasso = null;

  function draw() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`);
    brush.clearRect(0, 0, 900, 600);
    places.forEach(([left, top], at) => {
      brush.fillStyle = colour(isChosen(at) ? "ink" : groups[at] < 0 ? "muted" : `state${groups[at] % 8}`);
      brush.beginPath();
      brush.arc(left, top, isChosen(at) ? 5 : groups[at] < 0 ? 2 : 3, 0, 7);
      brush.fill();
    });
    brush.strokeStyle = colour("accent");
    if (lasso) brush.stroke(lasso);
  }

  function extend(event) {
    const area = canvas.getBoundingClientRect();
    lasso.lineTo(((event.clientX - area.left) / area.width) * 900, ((event.clientY - area.top) / area.height) * 600);
    draw();
  }
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    lasso = new Path2D();
    extend(event);
  });
  canvas.addEventListener("pointermove", (event) => lasso && extend(event));
  canvas.addEventListener("pointerup", () => {
    const shape = lasso;
    lasso = null;
    choose(places.flatMap(([left, top], at) => (brush.isPointInPath(shape, left, top, "evenodd") ? [at] : [])));
  });
  return { canvas, draw };
}

// Chart of a watch over time: events, states, truth, scores with their levels, margin, brightness and
// light. Drawn by uPlot on a canvas; drag zooms in, a double click shows everything again.
//
// Data: `t` (Unix seconds, ascending), `scores`, `enter` and `leave` ({state: [value per t]}),
// `margin` and `luma` ([value per t] or absent), `spans` ([{start, end, state, reason}]), `truth`,
// `wrong` ({start, end, state}), `lights` ([{start, end, light}]), `events` ([{number, at, after}]).

import { stateColour, stateText } from "./components.js";
import { append, fill, h } from "./dom.js";
import { formatDuration, formatNumber, formatTime, language, named, t } from "./i18n.js";

const STATE_LANE = 26;
const TRUTH_LANE = 14;
const LIGHT_LANE = 16;
const GAP = 5;
const MARKER = 22;
const CHART_HEIGHT = 210;
const CURVE_HEIGHT = 64;
const AXIS_WIDTH = 46;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800];

let chartLibrary = null;

// uPlot comes as a plain script: it is loaded with the first chart, or stands in the report already.
export function loadCharts() {
  if (globalThis.uPlot) return Promise.resolve();
  chartLibrary ??= new Promise((resolve, reject) => {
    const sheet = h("link", { rel: "stylesheet", href: "pages/vendor/uplot.min.css" });
    const script = h("script", { src: "pages/vendor/uplot.min.js", onload: resolve, onerror: () => reject(new Error(t("error.offline"))) });
    document.head.append(sheet, script);
  });
  return chartLibrary;
}

// Append the chart to `place`. `onPick(event)` is called for the marker of an event, `onTime(second)`
// for a click into the chart. Returns { zoom(start, end), end() }.
export function timelineChart(place, data, { elapsed = false, onPick, onTime, label } = {}) {
  const { Chart, start, end } = { Chart: globalThis.uPlot, ...extentOf(data) };
  const colours = () => getComputedStyle(document.documentElement);
  const paint = (name) => colours().getPropertyValue(`--${name}`).trim();
  const clock = (second) => (elapsed ? formatDuration(second - start) : formatTime(second));
  const readout = h("p", { class: "readout muted" }, t("chart.hint"));
  const markers = h("div", { class: "chart-markers" });
  const plots = h("div", { class: "chart-plots" });
  const element = h("figure", { class: "chart", "aria-label": label ?? t("chart.label") }, legend(data), markers, plots, readout);
  append(place, [element]);

  const shared = Chart.sync(Math.random().toString(36));
  const base = (height, padding) => ({
    width: Math.max(280, plots.clientWidth || place.clientWidth || 800),
    height,
    padding,
    legend: { show: false },
    cursor: { sync: { key: shared.key }, drag: { x: true, y: false }, points: { size: 6 } },
    scales: { x: { time: false, min: start, max: end } },
  });
  const timeAxis = (shown) => ({
    show: shown, stroke: () => paint("muted"), grid: { stroke: () => paint("grid"), width: 1 }, ticks: { stroke: () => paint("grid") },
    incrs: STEPS, space: 90, size: shown ? 28 : 0, font: "12px system-ui",
    values: (_, splits, __, ___, step) => splits.map((second) => tickText(second, step, elapsed ? start : null)),
  });
  const valueAxis = (values) => ({
    stroke: () => paint("muted"), grid: { stroke: () => paint("grid"), width: 1 }, ticks: { show: false }, size: AXIS_WIDTH, font: "12px system-ui", ...values,
  });

  const top = STATE_LANE + GAP + (data.truth?.length ? TRUTH_LANE + GAP : 0);
  const made = [];
  made.push(scorePlot());
  for (const name of ["margin", "luma"]) if (data[name]?.some((value) => value !== null)) made.push(curvePlot(name));
  const main = made[0];

  function scorePlot() {
    const columns = [data.t];
    const series = [{}];
    for (const state of data.states) {
      const colour = () => paint(stateColour(data.states, state));
      if (!data.scores?.[state]) continue;
      columns.push(data.scores[state]);
      series.push({ label: state, stroke: colour, width: 1.6, points: { show: false } });
      for (const [kind, dash] of [["enter", [6, 4]], ["leave", [2, 3]]]) {
        if (!data[kind]?.[state]) continue;
        columns.push(data[kind][state]);
        series.push({ label: `${state} ${kind}`, stroke: colour, width: 1, alpha: 0.75, dash, points: { show: false } });
      }
    }
    const alone = made.length === 0 && !data.margin && !data.luma;
    const options = base(CHART_HEIGHT + top, [top, 12, 6, 0]);
    return new Chart({
      ...options,
      series,
      axes: [timeAxis(alone), valueAxis({ values: (_, splits) => splits.map((value) => formatNumber(value, 1)) })],
      scales: { ...options.scales, y: { range: scoreRange } },
      hooks: { drawClear: [panel, bands], setScale: [placeMarkers], setCursor: [read], ready: [listen] },
    }, columns, plots);
  }

  function curvePlot(name) {
    const last = name === "luma" || !data.luma;
    const lights = last && data.lights?.length ? LIGHT_LANE : 0;
    const options = base(CURVE_HEIGHT + lights + (last ? 28 : 0), [10, 12, lights + 4, 0]);
    const high = name === "luma" ? 255 : 1;
    return new Chart({
      ...options,
      series: [{}, { label: name, stroke: () => paint("luma"), fill: () => `${paint("luma")}55`, width: 1.2, points: { show: false } }],
      axes: [timeAxis(last), valueAxis({ splits: () => [0, high], values: () => ["0", String(high)], label: t(`chart.${name}`), labelSize: 14, size: AXIS_WIDTH - 14, labelFont: "11px system-ui" })],
      scales: { ...options.scales, y: { range: [0, high] } },
      hooks: { drawClear: [panel, ...(lights ? [lightBand] : [])], setCursor: [read] },
    }, [data.t, data[name]], plots);
  }

  function panel(u) {
    const { ctx, bbox } = u;
    ctx.fillStyle = paint("panel");
    ctx.fillRect(bbox.left, bbox.top, bbox.width, bbox.height);
  }

  function bands(u) {
    laneName(u, t("chart.state"), STATE_LANE / 2);
    if (data.truth?.length) laneName(u, t("chart.truth"), STATE_LANE + GAP + TRUTH_LANE / 2);
    drawBand(u, data.spans ?? [], 0, STATE_LANE, (span) => stateColour(data.states, span.state), (span) => (span.reason ? named("reason.short", span.reason) : stateText(span.state)), true);
    if (data.truth?.length) drawBand(u, data.truth, STATE_LANE + GAP, TRUTH_LANE, (span) => stateColour(data.states, span.state), (span) => stateText(span.state));
    const { ctx, bbox } = u;
    ctx.fillStyle = paint("wrong");
    for (const { start: from, end: to } of data.wrong ?? []) {
      const [left, right] = [from, to].map((second) => Math.min(bbox.left + bbox.width, Math.max(bbox.left, u.valToPos(second, "x", true))));
      if (right > left) ctx.fillRect(left, (STATE_LANE + 1) * devicePixelRatio, Math.max(2, right - left), 3 * devicePixelRatio);
    }
  }

  function laneName({ ctx, bbox }, text, y) {
    ctx.save();
    ctx.font = `${11 * devicePixelRatio}px system-ui`;
    ctx.textBaseline = "middle";
    ctx.textAlign = "right";
    ctx.fillStyle = paint("muted");
    ctx.fillText(text, bbox.left - 6 * devicePixelRatio, y * devicePixelRatio);
    ctx.restore();
  }

  function lightBand(u) {
    const place = (u.bbox.top + u.bbox.height) / devicePixelRatio + 3;
    drawBand(u, data.lights, place, LIGHT_LANE - 4, (span) => span.light, (span) => named("light", span.light));
  }

  function drawBand(u, spans, y, height, nameOf, textOf, hatched = false) {
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.font = `${(height > 20 ? 13 : 11) * ratio}px system-ui`;
    ctx.textBaseline = "middle";
    for (const span of spans) {
      const left = Math.max(bbox.left, u.valToPos(span.start, "x", true));
      const right = Math.min(bbox.left + bbox.width, u.valToPos(span.end, "x", true));
      if (right <= left) continue;
      const name = nameOf(span);
      ctx.fillStyle = hatched && name === "unknown" ? stripes(ctx) : paint(name);
      ctx.fillRect(left, y * ratio, Math.max(ratio, right - left), height * ratio);
      const text = textOf(span);
      if (ctx.measureText(text).width > right - left - 8 * ratio) continue;
      ctx.fillStyle = name === "unknown" ? paint("ink") : paint(`on-${name}`);
      ctx.fillText(text, left + 5 * ratio, (y + height / 2) * ratio);
    }
    ctx.restore();
  }

  function stripes(ctx) {
    const tile = new OffscreenCanvas(8, 8);
    const brush = tile.getContext("2d");
    brush.fillStyle = paint("unknown-back");
    brush.fillRect(0, 0, 8, 8);
    brush.strokeStyle = paint("unknown");
    brush.lineWidth = 2;
    for (const shift of [-8, 0, 8]) {
      brush.beginPath();
      brush.moveTo(shift, 8);
      brush.lineTo(shift + 8, 0);
      brush.stroke();
    }
    return ctx.createPattern(tile, "repeat");
  }

  function placeMarkers(u) {
    const rows = [];
    const { min, max } = u.scales.x;
    const shown = (data.events ?? []).filter(({ at }) => at >= min && at <= max);
    fill(markers, shown.map((event) => {
      const x = u.valToPos(event.at, "x") + u.bbox.left / devicePixelRatio;
      let row = rows.findIndex((right) => x - right >= MARKER);
      if (row < 0) row = rows.length < 3 ? rows.length : rows.indexOf(Math.min(...rows));
      rows[row] = x;
      const name = t("chart.event", { n: event.number, time: clock(event.at), state: stateText(event.after) });
      const style = { left: `${x}px`, top: `${row * (MARKER + 2)}px` };
      return h("button", { type: "button", class: `marker c-${stateColour(data.states, event.after)}`, style, title: name, "aria-label": name, onclick: () => onPick?.(event) }, String(event.number));
    }));
    markers.style.setProperty("height", `${Math.max(1, rows.length) * (MARKER + 2)}px`);
  }

  function read(u) {
    const at = u.cursor.idx;
    if (at === null || at === undefined) return;
    const second = data.t[at];
    const span = (data.spans ?? []).find((one) => one.start <= second && second <= one.end);
    const parts = [clock(second)];
    if (span) parts.push(stateText(span.state) + (span.reason ? ` (${named("reason.short", span.reason)})` : ""));
    for (const state of data.states) if (data.scores?.[state]) parts.push(`${state} ${formatNumber(data.scores[state][at], 3)}`);
    if (data.margin) parts.push(`${t("chart.margin")} ${formatNumber(data.margin[at])}`);
    fill(readout, parts.join(" · "));
  }

  function listen(u) {
    placeMarkers(u);
    u.over.addEventListener("click", () => {
      if (onTime && u.cursor.idx !== null && !u.select.width) onTime(data.t[u.cursor.idx]);
    });
    u.over.addEventListener("dblclick", () => zoom(start, end));
  }

  function zoom(from, to) {
    for (const plot of made) plot.setScale("x", { min: from, max: to });
  }

  // Plots of one chart zoom together.
  for (const plot of made) {
    plot.hooks.setScale = [...(plot.hooks.setScale ?? []), (u, key) => {
      if (key !== "x") return;
      const { min, max } = u.scales.x;
      for (const other of made) if (other !== u && (other.scales.x.min !== min || other.scales.x.max !== max)) other.setScale("x", { min, max });
    }];
  }
  const observer = new ResizeObserver(() => {
    const width = Math.max(280, plots.clientWidth);
    for (const plot of made) if (plot.width !== width) plot.setSize({ width, height: plot.height });
    placeMarkers(main);
  });
  observer.observe(plots);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const repaint = () => made.forEach((plot) => plot.redraw(false));
  scheme.addEventListener("change", repaint);
  return {
    zoom,
    end() {
      observer.disconnect();
      scheme.removeEventListener("change", repaint);
      made.forEach((plot) => plot.destroy());
      element.remove();
    },
  };
}

function extentOf({ t: times, spans = [] }) {
  const start = times.length ? times[0] : spans[0]?.start ?? 0;
  const end = times.length ? times.at(-1) : spans.at(-1)?.end ?? 1;
  return { start, end: end > start ? end : start + 1 };
}

function scoreRange(_, low, high) {
  if (low === null || low === undefined) return [0, 1];
  return [Math.max(0, Math.floor(low * 10 - 0.5) / 10), Math.min(1.02, Math.ceil(high * 10 + 0.2) / 10)];
}

function tickText(second, step, start) {
  if (start !== null) return formatDuration(Math.round(second - start));
  const date = new Date(second * 1000);
  if (step >= 86400) return date.toLocaleDateString(language, { month: "short", day: "numeric" });
  const parts = { hour: "2-digit", minute: "2-digit" };
  if (step < 60) parts.second = "2-digit";
  return date.toLocaleTimeString(language, parts);
}

function legend(data) {
  const swatch = (name, text) => h("span", { class: "key" }, h("i", { class: `swatch b-${name}` }), text);
  const dashed = (kind, text) => h("span", { class: "key" }, h("i", { class: `dash ${kind}` }), text);
  const rows = data.states.map((state) => swatch(stateColour(data.states, state), state));
  rows.push(swatch("unknown striped", t("state.unknown")));
  if (data.enter) rows.push(dashed("enter", t("watch.enter")), dashed("leave", t("watch.leave")));
  if (data.truth?.length) rows.push(swatch("wrong", t("chart.wrong")));
  return h("div", { class: "legend" }, rows);
}

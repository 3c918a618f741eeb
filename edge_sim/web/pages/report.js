// Blocks of a report: what the command line writes as one self-contained file, and what the pages show
// of the same kind. A block is {kind, ...}; texts come from the device as they are.

import { facts, scoreBars, stateColour, stateText } from "./components.js";
import { loadCharts, timelineChart } from "./chart.js";
import { diagram, pointMap } from "./diagram.js";
import { fill, h } from "./dom.js";
import { formatDuration, formatNumber, formatTime, named, t } from "./i18n.js";

const BLOCKS = {
  timeline: timelineBlock,
  grid: gridBlock,
  diagrams: (block) => h("section", {}, title(block), h("div", { class: "diagrams" }, block.diagrams.map(diagram))),
  table: tableBlock,
  texts: textsBlock,
  map: mapBlock,
};

// Show a whole report in `main`.
export async function showReport(main, report) {
  if (report.blocks.some(({ kind }) => kind === "timeline")) await loadCharts();
  const lines = (report.facts ?? []).map((line) => h("p", { class: "muted" }, line));
  fill(main, h("header", {}, h("h1", {}, report.title), lines));
  for (const block of report.blocks) main.append(BLOCKS[block.kind](block));
  if (report.footer) main.append(h("section", { class: "muted" }, h("p", {}, report.footer)));
}

function title({ heading, note }) {
  return [heading ? h("h2", {}, heading) : null, note ? h("p", { class: "muted" }, note) : null];
}

function textsBlock(block) {
  const parts = block.parts.map(({ heading, paragraphs }) => h("div", {}, h("h2", {}, heading), paragraphs.map((text) => h("p", {}, text))));
  return h("section", { class: "texts" }, parts);
}

function tableBlock(block) {
  const head = h("tr", {}, block.columns.map((name) => h("th", { scope: "col" }, name)));
  const rows = block.rows.map((cells) => h("tr", {}, cells.map((cell) => h("td", {}, cell))));
  const name = block.heading ?? block.columns.join(", ");
  return h("section", {}, title(block), h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": name }, h("table", {}, h("thead", {}, head), h("tbody", {}, rows))));
}

function gridBlock(block) {
  return h("section", {}, title(block), h("ul", { class: "picture-grid" }, block.cards.map(pictureCard)));
}

// The files inside a lasso are listed, to copy them into a command.
function mapBlock(block) {
  const chosen = new Set();
  const files = h("textarea", { readonly: "", rows: "8", "aria-label": block.advice });
  const count = h("p", { "aria-live": "polite" });
  const choose = (places) => {
    if (!places.length) chosen.clear();
    places.forEach((at) => chosen.add(at));
    files.value = [...chosen].map((at) => block.names[at]).join("\n");
    count.textContent = t("review.chosen", { n: chosen.size });
    map.draw();
  };
  const map = pointMap({ ...block, label: t("collection.map.label", { n: block.x.length }), isChosen: (at) => chosen.has(at), choose });
  choose([]);
  return h("section", {}, h("p", { class: "muted" }, t("collection.lasso")), map.canvas, count, files, h("p", { class: "muted" }, block.advice));
}

// A text whose paths and keys break after a dot, slash or underscore rather than within a word.
const breakable = (text) => text.split(/(?<=[a-z][./_])(?=[a-z])/i).map((part, at) => [at ? h("wbr") : null, part]);

// A picture with lines under it; `mark` is "good", "warn" or "wrong" for a frame of that meaning.
function pictureCard({ picture, lines, mark }) {
  const [first, ...rest] = lines.length ? lines : [""];
  const shown = picture ? h("img", { src: picture, alt: first, loading: "lazy" }) : h("span", { class: "none" }, t("report.nopicture"));
  return h("li", { class: mark ? `marked ${mark}` : "" }, h("figure", {}, shown, h("figcaption", {}, h("b", {}, breakable(first)), rest.map((line) => [h("br"), breakable(line)]))));
}

function timelineBlock(block) {
  const section = h("section", {}, h("h2", {}, block.watch), facts(block.facts ?? []));
  if (block.figures?.length) section.append(figureRow(block.figures));
  if (!block.t.length) {
    section.append(h("p", {}, block.nothing ?? t("report.nothing")));
    return section;
  }
  const rows = new Map();
  const start = block.t[0];
  const table = eventTable(block, rows, (event) => formatDuration(event.at - start));
  const chart = h("div");
  section.append(chart, table);
  const pick = (event) => {
    const row = rows.get(event.number);
    row?.scrollIntoView({ block: "center" });
    row?.focus({ preventScroll: true });
  };
  // The chart measures its place, so it is drawn when the section stands in the document.
  const observer = new ResizeObserver(() => {
    observer.disconnect();
    timelineChart(chart, block, { elapsed: block.elapsed, onPick: pick, label: t("chart.of", { watch: block.watch }) });
  });
  observer.observe(chart);
  return section;
}

function figureRow(figures) {
  return h("ul", { class: "figures" }, figures.map(([figure, caption]) => h("li", {}, h("b", {}, figure), h("span", { class: "muted" }, caption))));
}

function eventTable(block, rows, sinceText) {
  if (!block.events.length) return h("p", { class: "muted" }, t("report.noevents"));
  const heads = ["#", "", t("report.time"), t("report.change"), t("report.confidence"), t("report.scores")];
  const body = block.events.map((event) => {
    const row = eventRow(event, block, sinceText(event));
    rows.set(event.number, row);
    return row;
  });
  const rest = block.left_out ? h("p", { class: "muted" }, block.left_out) : null;
  return h("div", {}, h("table", { class: "events" }, h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col" }, text)))), h("tbody", {}, body)), rest);
}

function eventRow(event, { states }, since) {
  const reason = event.reason ? ` (${named("reason.short", event.reason)})` : "";
  const levels = Object.fromEntries(Object.entries(event.levels ?? {}).map(([state, [enter, leave]]) => [state, { enter, leave }]));
  return h(
    "tr",
    { tabindex: "-1" },
    h("td", {}, h("span", { class: `badge c-${stateColour(states, event.after)}` }, String(event.number))),
    h("td", { class: "event-picture" }, event.picture ? h("img", { src: event.picture, alt: t("report.picture", { n: event.number }), loading: "lazy" }) : null),
    h("td", { class: "event-time" }, since, h("br"), h("small", {}, formatTime(event.at), h("br"), named("light", event.light))),
    h("td", { class: "event-change" }, h("span", { class: "muted" }, `${stateText(event.before ?? t("report.start"))} → `), h("b", {}, stateText(event.after)), reason),
    h("td", { class: "event-confidence" }, formatNumber(event.confidence)),
    h("td", { class: "event-bars" }, Object.keys(event.scores ?? {}).length ? scoreBars(states, event.scores, levels) : null),
  );
}

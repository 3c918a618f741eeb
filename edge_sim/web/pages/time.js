// Time line of a watch: scores and events of the last days, why each event was reported, and what
// another sensitivity would have given.

import { get, may, patch, path, post, subscribe, withQuery } from "./api.js";
import { loadCharts, timelineChart } from "./chart.js";
import { banner, busy, button, empty, facts, heading, regionBox, scoreBars, stateBadge, toast, toastError } from "./components.js";
import { fill, h } from "./dom.js";
import { formatNumber, formatTime, named, t } from "./i18n.js";

const RANGES = { hour: 3600, "6h": 21600, day: 86400, week: 604800 };
const POINTS = 1200;

export async function timePage({ main, parts, query, signal, go }) {
  const watches = await get("api/watches", { signal });
  const watch = watches.find(({ name }) => name === parts[0]) ?? watches[0];
  if (!watch) return fill(main, empty(t("live.none"), t("live.none.text")));
  if (!parts.length) return go(path("time", watch.name), { instead: true });
  const range = query.get("range") in RANGES ? query.get("range") : "day";
  const place = h("div");
  const why = h("div", { class: "why", "aria-live": "polite" });
  const tune = h("div");
  const choice = h("select", { "aria-label": t("time.watch"), onchange: () => go(withQuery(path("time", choice.value), { range })) }, watches.map(({ name }) => h("option", { value: name, selected: name === watch.name }, name)));
  const ranges = Object.keys(RANGES).map((name) => button(t(`time.range.${name}`), () => go(withQuery(path("time", watch.name), { range: name })), { class: "small", "aria-pressed": String(name === range) }));
  fill(main, heading(t("time.title", { watch: watch.name }), choice, h("div", { class: "actions" }, ranges)), place, tune);
  let chart = null;
  let shown = null;
  let wanted = query.get("event");

  const since = () => Date.now() / 1000 - RANGES[range];

  async function load() {
    const [scores, events] = await Promise.all([scoresSince(watch.name, since(), signal), get(withQuery("api/events", { watch: watch.name, since: since(), limit: 500 }), { signal })]);
    await loadCharts();
    if (signal.aborted) return;
    shown = timelineOf(watch, scores, events);
    chart?.end();
    fill(place);
    if (scores.text) place.append(banner("warn", scores.text));
    if (!shown.t.length && !shown.events.length) return place.append(empty(t("time.none"), t("time.none.text")));
    if (shown.t.length) chart = timelineChart(place, shown, { onPick: ({ id }) => showWhy(id), onTime: (second) => showWhyAt(second), label: t("chart.of", { watch: watch.name }) });
    place.append(why, eventList(shown, showWhy));
    // Made once: an event that comes while it is moved does not take it away.
    if (shown.t.length && !tune.firstChild) fill(tune, sensitivity(watch, since, signal, load));
    if (wanted) wanted === "last" ? showWhyAt() : showWhy(wanted);
    wanted = null;
  }

  const showWhy = (id) => explain(withQuery("api/explain", { event: id }));
  const showWhyAt = (second) => explain(withQuery("api/explain", { watch: watch.name, at: second }));

  async function explain(address) {
    try {
      fill(why, explanation(await get(address, { signal }), watch));
      why.scrollIntoView({ block: "nearest" });
      why.querySelector("h2").focus({ preventScroll: true });
    } catch (error) {
      toastError(error);
    }
  }

  await load();
  let timer = null;
  const reload = () => {
    clearTimeout(timer);
    timer = setTimeout(() => load().catch(toastError), 1500);
  };
  subscribe("event", (event) => event.watch === watch.name && reload(), signal);
  subscribe("resumed", reload, signal);
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    chart?.end();
  });
}

// Without a score log there are events only, and a line that says how to keep one.
async function scoresSince(watch, since, signal) {
  try {
    return await get(withQuery("api/scores", { watch, since, points: POINTS }), { signal });
  } catch (error) {
    if (error.status !== 404) throw error;
    return { t: [], scores: {}, state: [], reason: [], light: [], text: error.message };
  }
}

function timelineOf(watch, scores, events) {
  const changes = events.filter(({ type }) => type === "state_changed").reverse();
  const level = (kind) => {
    const levels = scores.thresholds ?? {};
    return Object.fromEntries(Object.keys(levels).map((state) => [state, scores.t.map(() => levels[state][kind])]));
  };
  return {
    watch: watch.name,
    states: [...new Set([...watch.states, ...Object.keys(scores.scores)])],
    t: scores.t,
    scores: scores.scores,
    enter: level("enter"),
    leave: level("leave"),
    spans: runs(scores.t, scores.t.map((_, at) => [scores.state[at], scores.reason?.[at] ?? null]), ([state, reason]) => ({ state, reason })),
    lights: runs(scores.t, scores.light, (light) => ({ light })),
    events: changes.map((event, at) => ({ ...event, number: at + 1, at: Date.parse(event.at) / 1000, light: event.condition })),
  };
}

// Neighbours with one value as spans [{start, end, ...}].
function runs(times, values, make) {
  const found = [];
  let last = null;
  times.forEach((second, at) => {
    const text = JSON.stringify(values[at]);
    if (found.length) found.at(-1).end = second;
    if (text !== last) found.push({ start: second, end: second, ...make(values[at]) });
    last = text;
  });
  return found;
}

function eventList({ events, states }, onPick) {
  if (!events.length) return h("p", { class: "muted" }, t("report.noevents"));
  const rows = [...events].reverse().map((event) => h(
    "li",
    {},
    h("button", { type: "button", class: "event-row", onclick: () => onPick(event.id) },
      h("span", { class: "muted" }, formatTime(event.at)),
      stateBadge(states, event.after),
      event.reason ? h("span", {}, named("reason", event.reason)) : null,
      h("span", { class: "muted" }, `${t("report.confidence")} ${formatNumber(event.confidence)}`)),
  ));
  return h("section", {}, h("h2", {}, t("time.events")), h("ul", { class: "event-list" }, rows));
}

// The account of one event: sentences, the picture with what no reference explains, scores, references.
function explanation(found, watch) {
  const { account, event } = found;
  const match = found.cause?.match;
  const states = match?.states ?? [];
  const sentences = [["why_state", "time.whystate"], ["why_then", "time.whythen"], ["what_if", "time.whatif"]];
  const words = sentences.filter(([key]) => account[key]?.length).map(([key, label]) => h("div", {}, h("h3", {}, t(label)), account[key].map((text) => h("p", {}, text))));
  const levels = Object.fromEntries(account.states.filter(({ enter }) => enter !== null).map(({ state, enter, leave }) => [state, { enter, leave }]));
  const scores = Object.fromEntries(account.states.map(({ state, score }) => [state, score]));
  return h(
    "section",
    {},
    h("h2", { tabindex: "-1" }, account.headline, " ", h("small", {}, formatTime(event.at))),
    h("div", { class: "why-parts" }, whyPictures(found, watch, states), h("div", {}, h("div", { class: "texts" }, words), scoreBars(watch.states, scores, levels))),
  );
}

function whyPictures({ event, has_picture: seen, regions }, watch, states) {
  if (watch.private) return h("p", { class: "muted" }, t("live.private"));
  const boxes = (regions ?? []).map(({ region }) => regionBox(region));
  const address = path("api/events", event.id, "picture.jpg");
  const first = seen
    ? h("figure", {}, h("div", { class: "picture" }, h("img", { src: address, alt: t("time.picture") }), boxes), h("figcaption", {}, t(boxes.length ? "time.where" : "time.picture")))
    : h("p", { class: "muted" }, t("time.nopicture"));
  const references = states.slice(0, 3).map(({ state, reference_id: id }) => h(
    "figure",
    {},
    h("img", { src: path("api/watches", watch.name, "gallery", `${id}.jpg`), alt: t("time.reference", { state }), onerror: ({ target }) => target.remove() }),
    h("figcaption", {}, t("time.reference", { state })),
  ));
  return h("div", { class: "why-pictures" }, first, references);
}

// A slider that decides the log again: events gained and lost, and the button that keeps the setting.
function sensitivity(watch, since, signal, changed) {
  const now = () => watch.sensitivity ?? 0.5;
  let asking = null;
  const result = h("div", { "aria-live": "polite" }, h("p", { class: "muted" }, t("time.sensitivity.hint")));
  const value = h("output", {}, formatNumber(now()));
  const keep = button(t("time.sensitivity.keep"), () => busy(keep, async () => {
    await patch(path("api/watches", watch.name), { sensitivity: Number(slider.value) });
    watch.sensitivity = Number(slider.value);
    keep.hidden = true;
    toast(t("time.sensitivity.kept"));
    await changed();
  }), { class: "primary", hidden: true });
  const slider = h("input", {
    type: "range", id: "sensitivity", min: "0", max: "1", step: "0.05", value: String(now()),
    oninput: () => fill(value, formatNumber(Number(slider.value))),
    onchange: () => decideAgain(),
  });

  async function decideAgain() {
    fill(result, h("p", { class: "muted" }, t("time.sensitivity.busy")));
    asking?.abort(); // the last place of the slider counts
    asking = new AbortController();
    try {
      const found = await post("api/replay", { watch: watch.name, since: since(), sensitivity: Number(slider.value) }, { signal: AbortSignal.any([signal, asking.signal]) });
      fill(result, replayResult(found, watch));
      keep.hidden = !may("admin") || Number(slider.value) === now();
    } catch (error) {
      if (error.name !== "AbortError") fill(result, banner("warn", error.message));
    }
  }

  return h("section", {}, h("h2", {}, h("label", { for: "sensitivity" }, t("time.sensitivity"))), h("div", { class: "slider" }, h("small", {}, t("time.sensitivity.less")), slider, h("small", {}, t("time.sensitivity.more")), value), result, keep);
}

function replayResult({ events, gained, lost }, watch) {
  const list = (title, found) => found.length ? h("div", {}, h("h3", {}, title), h("ul", { class: "event-list" }, found.slice(-20).map((event) => h("li", {}, h("span", { class: "muted" }, `${formatTime(event.at)} `), stateBadge(watch.states, event.after))))) : null;
  return [
    facts([[t("time.replay.events"), String(events.length)], [t("time.replay.gained"), String(gained.length)], [t("time.replay.lost"), String(lost.length)]]),
    h("div", { class: "texts" }, list(t("time.replay.gained"), gained), list(t("time.replay.lost"), lost)),
  ];
}

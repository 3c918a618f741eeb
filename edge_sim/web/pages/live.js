// All watches at a glance: picture, state, scores, what is wrong, and the correction in two clicks.

import { fetchPicture, get, may, path, post, subscribe, withQuery } from "./api.js";
import { button, empty, facts, heading, reasonText, regionBox, scoreBars, showBlob, stateBadge, toast, toastError } from "./components.js";
import { fill, fillWhenChanged, h, throttle } from "./dom.js";
import { formatDuration, formatPercent, formatTime, named, t } from "./i18n.js";

const PICTURE_EVERY_MS = 2000;
const PICTURE_AGAIN_MS = 15000;
const FILTER_FROM = 7;
const CARD_RATIO = 4 / 3;

export async function livePage({ main, signal }) {
  const watches = await get("api/watches", { signal });
  const cards = new Map();
  const grid = h("div", { class: "cards" });
  const add = may("admin") ? h("a", { href: "#/new", class: "button primary" }, t("live.add")) : null;
  const nothing = empty(t("live.none"), t("live.none.text"), add);
  const filter = h("input", { type: "search", placeholder: t("live.filter"), "aria-label": t("live.filter"), oninput: () => applyFilter() });
  const troubled = h("input", { type: "checkbox", id: "troubled", onchange: () => applyFilter() });
  const tools = h("div", { class: "live-tools" }, filter, h("label", { for: "troubled" }, troubled, " ", t("live.troubled")));

  function applyFilter() {
    const wanted = filter.value.trim().toLowerCase();
    for (const card of cards.values()) {
      const found = `${card.watch.name} ${card.watch.source} ${card.watch.state?.name}`.toLowerCase().includes(wanted);
      card.element.hidden = !found || (troubled.checked && !isTroubled(card.watch));
    }
  }

  function show(watch) {
    const known = cards.get(watch.name);
    if (watch.removed) {
      known?.end();
      cards.delete(watch.name);
    } else if (known) known.update(watch);
    else {
      const card = watchCard(watch, signal);
      cards.set(watch.name, card);
      grid.append(card.element);
    }
    nothing.hidden = cards.size > 0;
    tools.hidden = cards.size < FILTER_FROM;
    applyFilter();
  }

  fill(main, heading(t("nav.live")), tools, grid, nothing);
  watches.forEach(show);
  show({ removed: true });
  subscribe("watch", show, signal);
  // The stream tells again of every watch that there is, and not of one that is gone.
  subscribe("resumed", async () => {
    try {
      const left = (await get("api/watches", { signal })).map(({ name }) => name);
      for (const name of [...cards.keys()]) if (!left.includes(name)) show({ name, removed: true });
    } catch (error) {
      toastError(error);
    }
  }, signal);
  subscribe("device", ({ sources = [] }) => cards.forEach((card) => card.camera(sources)), signal);
  const clock = setInterval(() => cards.forEach((card) => card.tick()), 1000);
  signal.addEventListener("abort", () => clearInterval(clock));
}

const isTroubled = (watch) =>
  watch.state?.name === "unknown" || watch.familiar === false || watch.overdue || (watch.problems ?? []).length > 0;

// Card of one watch: `element`, `update(watch)`, `tick()` once a second, `end()`.
export function watchCard(first, signal, { large = false } = {}) {
  const shot = snapshot(first, signal, large);
  const state = h("span", { class: "card-state" });
  const since = h("span", { class: "muted" });
  const notes = h("div", { class: "notes" });
  const bars = h("div");
  const details = h("div");
  const correction = correctionBar(() => card.watch);
  const title = large ? null : h("h2", {}, h("a", { href: `#/${path("watch", first.name)}` }, first.name));
  const element = h(
    "article",
    { class: "card", "aria-label": first.name },
    shot.element,
    h("div", { class: "card-body" }, h("div", { class: "card-top" }, title, state), since, notes, bars, details, correction),
  );

  let up;
  const showDetails = () => {
    const rows = detailRows(card.watch, up);
    fillWhenChanged(details, rows, () => facts(rows.map(([name, value, kind]) => [name, kind ? h("span", { class: kind }, value) : value])));
  };

  const card = {
    element,
    watch: first,
    update(watch) {
      shot.update(watch);
      card.watch = watch;
      card.at = performance.now();
      const { states, similarity, thresholds, scores } = watch;
      fillWhenChanged(state, [states, watch.state?.name], () => stateBadge(states, watch.state?.name));
      fillWhenChanged(notes, noteTexts(watch), () => noteTexts(watch).map(([kind, text]) => h("p", { class: `note ${kind}` }, text)));
      fillWhenChanged(bars, [states, similarity, thresholds, scores], () => scoreBars(states, similarity, thresholds, scores));
      showDetails();
      card.tick();
    },
    // What the camera of the watch does, from the list of the device's cameras.
    camera(sources) {
      up = sources.find(({ name }) => name === card.watch.source)?.up;
      showDetails();
    },
    tick() {
      const { since: moment, in_state_s: lasted } = card.watch.state ?? {};
      const seconds = (lasted ?? 0) + (performance.now() - card.at) / 1000;
      const text = moment ? t("live.since", { time: formatTime(moment), lasted: formatDuration(seconds) }) : "";
      if (since.textContent !== text) since.textContent = text;
    },
    end() {
      shot.end();
      element.remove();
    },
  };
  card.update(first);
  return card;
}

// Sentences about the present state: why unknown, unfamiliar, what is wrong with the picture.
function noteTexts(watch) {
  const notes = [];
  const { state, problems = [] } = watch;
  const missing = statesWithoutReferences(watch);
  if (missing.length) notes.push(["warn", t("live.untaught", { states: missing.join(", ") })]);
  if (state?.name === "unknown" && !(state.reason === "no_references" && missing.length)) {
    notes.push(["why", reasonText(state.reason) ?? t("reason.none")]);
  } else if (watch.familiar === false) notes.push(["why", t("live.unfamiliar")]);
  if (watch.overdue) notes.push(["warn", t("live.overdue")]);
  for (const problem of problems) if (problem !== state?.reason) notes.push(["warn", reasonText(problem)]);
  return notes;
}

function statesWithoutReferences({ states = [], references }) {
  if (!references) return [];
  return states.filter((name) => !Object.values(references[name] ?? {}).some((n) => n > 0));
}

function detailRows(watch, cameraUp) {
  const rows = [];
  if (watch.familiar === true && watch.state?.name !== "unknown") rows.push([t("live.picture"), t("live.familiar")]);
  if (watch.light) rows.push([t("live.light"), named("light", watch.light), `light light-${watch.light}`]);
  if (watch.gate) {
    const open = watch.gate.open ? t("live.gate.open") : t("live.gate.closed");
    const share = watch.gate.share_open;
    rows.push([t("live.gate"), share === null || share === undefined ? open : `${open}, ${t("live.gate.share", { share: formatPercent(share) })}`]);
  }
  const camera = cameraUp === undefined ? null : t(cameraUp ? "live.camera.up" : "live.camera.down");
  if (watch.source) rows.push([t("live.camera"), [watch.source, camera].filter(Boolean).join(", ")]);
  return rows;
}

// "This is wrong", then the right state: enrols what the camera shows now, with undo.
function correctionBar(current) {
  const bar = h("div", { class: "correction" });
  if (!may("operator")) return bar;

  function closed(focus) {
    const open = button(t("live.wrong"), opened, { class: "small" });
    const watch = current();
    fill(
      bar,
      open,
      h("a", { class: "button small", href: `#/${withQuery(path("time", watch.name), { event: "last" })}` }, t("live.why")),
      h("a", { class: "button small", href: `#/${path("edit", watch.name, "teach")}` }, t("live.teach")),
    );
    if (focus) open.focus();
  }

  function opened() {
    const { states, state } = current();
    const choices = states.filter((name) => name !== state?.name);
    const buttons = choices.map((name) => button(name, () => teach(name), { class: "small" }));
    fill(
      bar,
      h("span", { class: "muted" }, t("live.right")),
      buttons,
      button(t("cancel"), () => closed(true), { class: "small link" }),
    );
    buttons[0]?.focus();
  }

  async function teach(state) {
    const { name } = current();
    closed(true);
    try {
      const { undo, revision } = await post(path("api/watches", name, "teach"), { state });
      const action = { label: t("undo"), run: () => takeBack(name, undo ?? revision) };
      toast(t("live.taught", { watch: name, state }), { action });
    } catch (error) {
      toastError(error);
    }
  }

  queueMicrotask(() => closed(false));
  return bar;
}

async function takeBack(name, revision) {
  try {
    await post(path("api/watches", name, "undo"), { revision });
    toast(t("undone"));
  } catch (error) {
    toastError(error);
  }
}

// A region of a picture as it lies in a frame of another proportion with the whole picture in it.
function letterboxed([x, y, width, height], ratio, frameRatio) {
  const wide = Math.min(1, ratio / frameRatio);
  const high = Math.min(1, frameRatio / ratio);
  return [(1 - wide) / 2 + x * wide, (1 - high) / 2 + y * high, width * wide, height * high];
}

// The watch's picture, fetched only while it can be seen and only when it changed.
function snapshot(watch, signal, large) {
  const image = h("img", { alt: t("live.alt", { watch: watch.name }), decoding: "async", onload: drawBox });
  const box = h("span");
  const message = h("p", { class: "no-picture muted", hidden: true });
  let view = large ? "frame" : "region";
  let etag = null;
  let visible = false;
  let running = false;
  let late = false;

  function load() {
    if (watch.private) missing(403);
    else if (visible && !document.hidden) fetchNow();
  }

  const fetchNow = throttle(PICTURE_EVERY_MS, async () => {
    late = running; // what is asked for meanwhile comes after it
    if (running || signal.aborted) return;
    running = true;
    const asked = view;
    try {
      const address = withQuery(path("api/watches", watch.name, "snapshot.jpg"), { view: asked, w: large ? 600 : 360 });
      const found = await fetchPicture(address, etag, signal);
      if (found && asked === view && !watch.private) {
        etag = found.etag;
        if (found.blob) showBlob(image, found.blob);
        else missing();
      }
    } catch (error) {
      if (error.name !== "AbortError") missing(error.status);
    } finally {
      running = false;
      if (late) load();
    }
  });

  function drawBox() {
    const ratio = image.naturalWidth / image.naturalHeight;
    if (large) frame.style.setProperty("aspect-ratio", String(ratio));
    const region = view === "frame" ? watch.region : null;
    fill(box, region ? regionBox(large ? region : letterboxed(region, ratio, CARD_RATIO)) : null);
    show(true);
  }

  // Elements are hidden and stay where they are, so that the button keeps the focus.
  function show(seen, hidden = false) {
    image.hidden = box.hidden = !seen;
    message.hidden = seen;
    toggle.hidden = hidden;
  }

  function missing(status) {
    etag = null; // the same picture is shown again when it is back
    message.textContent = t(status === 403 ? "live.private" : "live.nopicture");
    show(false, status === 403);
  }

  const toggle = button(t("live.whole"), () => {
    view = view === "frame" ? "region" : "frame";
    toggle.textContent = view === "frame" ? t("live.region") : t("live.whole");
    etag = null;
    load();
  }, { class: "small view-toggle" });
  if (large) toggle.textContent = t("live.region");

  const frame = h("div", { class: "picture live-picture" }, image, box, message, toggle);
  load();
  const observer = new IntersectionObserver((entries) => {
    visible = entries.some((entry) => entry.isIntersecting);
    load();
  }, { rootMargin: "100px" });
  observer.observe(frame);
  const again = setInterval(load, PICTURE_AGAIN_MS);
  const end = () => {
    observer.disconnect();
    clearInterval(again);
    fetchNow.cancel();
    visible = false; // nor is it loaded after a picture that is on its way
  };
  signal.addEventListener("abort", end, { once: true });
  const update = (next) => {
    const changed = ["picture", "private", "region"].some((key) => String(next[key]) !== String(watch[key]));
    watch = next;
    if (changed) load();
  };
  return { element: frame, update, end };
}

// Teaching a watch its states: hold a button while a state is real, pick stills, drop files; and then
// how sure it is, what is covered, and the next picture to take.

import { fetchPicture, get, path, post, subscribe, withQuery } from "./api.js";
import { banner, button, percent, progress, reasonText, scoreBars, showBlob, stateBadge, stateColour, toast, toastError } from "./components.js";
import { fill, fillWhenChanged, h, throttle } from "./dom.js";
import { formatPercent, formatTime, named, t, worded } from "./i18n.js";
import { watchCard } from "./live.js";

const HOLD_MS = 900;
const PICTURE_MS = 700;

export async function teachStep({ body, watch, signal, links }) {
  const now = presentView(watch, signal);
  const stills = h("section");
  const news = h("div");
  const cards = watch.states.map((state) => stateCard(watch, state, signal));
  fill(
    body,
    h("p", {}, t("teach.how")),
    movedRegion(watch),
    news,
    h("div", { class: "teach" }, now.element, h("div", { class: "teach-states" }, cards.map((card) => card.element), h("p", { class: "actions" }, h("a", { class: "button primary", href: links.ready }, t("teach.done"))))),
    stills,
  );
  subscribe("watch", (changed) => {
    if (changed.name !== watch.name || changed.removed) return;
    now.update(changed);
    for (const card of cards) card.count(changed.references);
  }, signal);
  firstEvent(news, watch, signal);
  showStills({ element: stills, watch, signal, taught: (references) => cards.forEach((card) => card.count(references)) });
}

// What the camera shows now and what the watch makes of it.
function presentView(watch, signal) {
  const image = h("img", { alt: t("live.alt", { watch: watch.name }) });
  const state = h("div", { class: "card-top" });
  const bars = h("div");
  const element = h("div", { class: "teach-now" }, h("div", { class: "picture" }, image), state, bars);
  const update = ({ states, state: found, similarity, thresholds }) => {
    fillWhenChanged(state, found, () => [stateBadge(states, found?.name), h("span", { class: "muted" }, found?.name === "unknown" ? reasonText(found.reason) : "")]);
    fillWhenChanged(bars, [similarity, thresholds], () => scoreBars(states, similarity, thresholds));
  };
  update(watch);
  const address = withQuery(path("api/watches", watch.name, "snapshot.jpg"), { view: "region", w: 640 });
  if (!watch.private) followPicture(image, () => address, PICTURE_MS, signal);
  return { element, update };
}

// Show pictures one after the other until `signal`; a hidden tab fetches none. `address` may take
// time; `failed(error)` may return another pause than `interval`.
export async function followPicture(image, address, interval, signal, shown, failed) {
  let etag = null;
  while (!signal.aborted) {
    let pause = interval;
    try {
      const found = document.hidden ? null : await fetchPicture(await address(), etag, signal);
      if (found?.blob) {
        etag = found.etag;
        showBlob(image, found.blob);
        shown?.();
      }
    } catch (error) {
      if (error.name === "AbortError") return;
      etag = null; // the next picture is shown whatever it is
      pause = failed?.(error) ?? interval;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

// One state: the button to hold, what was kept, and files.
function stateCard(watch, state, signal) {
  const total = (references) => Object.values(references?.[state] ?? {}).reduce((sum, n) => sum + n, 0);
  const counter = h("span", { class: "muted" });
  const message = h("p", { class: "teach-message muted", role: "status" });
  const kept = h("div", { class: "kept" });
  const address = path("api/watches", watch.name, "references");
  const count = (references) => references && setCount(total(references));
  const setCount = (n) => (counter.textContent = t("teach.count", { n }));

  async function enrol(force) {
    try {
      const answer = await post(address, force === true ? { state, force } : { state }, { signal });
      if (answer.count !== undefined) setCount(answer.count);
      if (!answer.kept) {
        const anyway = answer.reason === "duplicate" ? null : button(t("teach.anyway"), () => enrol(true).catch(() => {}), { class: "link" });
        fill(message, refusalText(answer), " ", anyway);
        return;
      }
      message.textContent = t("teach.kept", { light: named("light", answer.light) });
      kept.prepend(thumbnail(answer));
      while (kept.children.length > 8) kept.lastChild.remove();
    } catch (error) {
      if (error.name !== "AbortError") message.textContent = error.message;
      throw error; // which ends the holding
    }
  }

  function thumbnail({ reference_id: id, picture }) {
    const item = button(
      [picture ? h("img", { src: picture, alt: "" }) : "✓", h("span", { class: "remove", "aria-hidden": "true" }, "×")],
      async () => {
        try {
          const answer = await post(path("api/watches", watch.name, "references", "undo"), { reference_id: id });
          item.remove();
          if (answer?.count !== undefined) setCount(answer.count);
          toast(t("undone"));
        } catch (error) {
          toastError(error);
        }
      },
      { class: "thumbnail", "aria-label": t("teach.remove"), title: t("teach.remove") },
    );
    return item;
  }

  const hold = holdButton(t("teach.hold", { state }), enrol, stateColour(watch.states, state));
  const files = fileDrop(state, async (list) => {
    message.textContent = t("teach.reading");
    try {
      const answers = await sendFiles(address, state, list);
      const refused = answers.filter((answer) => !answer.reference_id);
      message.textContent = t("teach.files", { n: answers.length - refused.length });
      for (const answer of refused) toast(`${answer.name}: ${refusalText(answer)}`, { kind: "error" });
    } catch (error) {
      message.textContent = error.message;
    }
  });
  setCount(total(watch.references));
  const element = h("section", { class: "teach-state", "aria-label": state }, h("div", { class: "card-top" }, stateBadge(watch.states, state), counter), hold, message, kept, files);
  return { element, count };
}

// Why a picture was not kept: a reason that is known is said in the language of the page.
function refusalText({ reason, refused, text, like }) {
  return worded("refusal", reason, { like: like ?? "" }, refused ?? text ?? t("teach.notkept"));
}

// Calls `action` at once and again while it is held with a pointer or a key; a plain click calls it once.
function holdButton(label, action, colour) {
  let held = false;
  let running = false;
  const run = async () => {
    if (running) return;
    running = true;
    try {
      do {
        const pause = new Promise((resolve) => setTimeout(resolve, HOLD_MS));
        await action();
        if (held) await pause;
      } while (held);
    } catch {
      held = false; // the action said why
    } finally {
      running = false;
      element.classList.remove("held");
    }
  };
  const start = () => {
    held = true;
    element.classList.add("held");
    run();
  };
  const stop = () => {
    held = false;
    element.classList.remove("held");
  };
  let byHand = false;
  const element = h(
    "button",
    {
      type: "button",
      class: `hold c-${colour}`,
      onpointerdown: (event) => {
        if (event.button > 0) return;
        byHand = true;
        element.setPointerCapture(event.pointerId);
        start();
      },
      onpointerup: stop,
      onpointercancel: stop,
      onblur: stop,
      oncontextmenu: (event) => event.preventDefault(), // a long press of a finger
      onkeydown: (event) => {
        if (event.key !== " " && event.key !== "Enter") return;
        event.preventDefault();
        if (!event.repeat) start();
      },
      onkeyup: stop,
      onclick: () => {
        if (!byHand) run();
        byHand = false;
      },
    },
    label,
  );
  return element;
}

function fileDrop(state, take) {
  const input = h("input", { type: "file", accept: "image/*", multiple: true, class: "visually-hidden", onchange: () => {
    if (input.files.length) take([...input.files]);
    input.value = "";
  } });
  const over = (on) => (event) => {
    event.preventDefault();
    zone.classList.toggle("over", on);
  };
  const zone = h(
    "label",
    {
      class: "drop",
      ondragover: over(true),
      ondragleave: over(false),
      ondrop: (event) => {
        over(false)(event);
        if (event.dataTransfer.files.length) take([...event.dataTransfer.files]);
      },
    },
    input,
    t("teach.drop", { state }),
  );
  return zone;
}

async function sendFiles(address, state, files) {
  const form = new FormData();
  for (const file of files) form.append("files", file, file.name);
  return post(withQuery(`${address}/files`, { state }), form);
}

// Stills that differ from each other, kept by the device: choose a state, then the pictures of it.
async function showStills({ element, watch, signal, taught }) {
  if (watch.private) return;
  const address = path("api/watches", watch.name, "proposals");
  let state = watch.states[0];
  const grid = h("div", { class: "stills" });
  const choices = watch.states.map((name) => button(name, () => choose(name), { class: "small", "aria-pressed": String(name === state) }));
  const again = button(t("again.look"), load, { class: "small" });

  function choose(name) {
    state = name;
    choices.forEach((item, place) => item.setAttribute("aria-pressed", String(watch.states[place] === name)));
  }

  async function load() {
    try {
      const stills = await get(address, { signal });
      if (!stills.length) fill(grid, h("p", { class: "muted" }, t("teach.stills.none")));
      else fill(grid, stills.map(still));
    } catch (error) {
      if (error.name !== "AbortError") fill(grid, h("p", { class: "muted" }, error.message));
    }
  }

  function still({ id, at, picture }) {
    const item = button([h("img", { src: picture, alt: t("teach.still", { time: formatTime(at) }), loading: "lazy" }), h("small", {}, formatTime(at))], async () => {
      item.disabled = true;
      const asked = state; // another may be chosen until the answer is there
      try {
        const answer = await post(address, { id, state: asked });
        const refused = (answer.refused ?? [])[0];
        if (refused) toast(refusalText(refused), { kind: "error" });
        else fill(item, item.firstChild, stateBadge(watch.states, asked));
        item.disabled = !refused;
        taught(answer.references);
      } catch (error) {
        toastError(error);
        item.disabled = false;
      }
    }, { class: "still" });
    return item;
  }

  fill(element, h("h2", {}, t("teach.stills")), h("p", { class: "muted" }, t("teach.stills.text")), h("div", { class: "actions", role: "group", "aria-label": t("teach.stills.state") }, h("span", {}, t("teach.stills.state")), choices, again), grid);
  await load();
}

// Notice of the first state that the watch reports after this page was opened.
function firstEvent(element, watch, signal) {
  subscribe("event", (event) => {
    if (event.type !== "state_changed" || event.watch !== watch.name || event.after === "unknown") return;
    const text = t("teach.event", { watch: watch.name, state: event.after, time: formatTime(event.at) });
    fill(element, banner("good", text));
  }, signal);
}

// Guide to retaking references that show another region than the one in force.
function movedRegion({ name, problems = [] }) {
  if (!problems.includes("region_moved")) return null;
  return banner("warn", t("teach.moved"), " ", h("a", { href: `#/${path("gallery", name)}` }, t("teach.moved.which")));
}

// Last step: how sure per pair of states, coverage, and what to do next.
export async function readyStep({ body, watch, signal, links }) {
  const news = h("div");
  const result = h("div", {}, progress(null, t("ready.computing")));
  const card = watchCard(watch, signal);
  fill(body, movedRegion(watch), news, h("div", { class: "ready" }, h("div", {}, result, h("p", { class: "actions" }, h("a", { class: "button", href: links.teach }, t("ready.more")), h("a", { class: "button primary", href: "#/live" }, t("ready.done")))), card.element));
  subscribe("watch", (changed) => {
    if (changed.name !== watch.name || changed.removed) return;
    if (changed.gallery_revision !== card.watch.gallery_revision) load();
    card.update(changed);
  }, signal);
  const clock = setInterval(card.tick, 1000);
  signal.addEventListener("abort", () => clearInterval(clock));
  firstEvent(news, watch, signal);

  const load = throttle(1500, async () => {
    try {
      fill(result, readiness(await get(path("api/watches", watch.name, "readiness"), { signal }), watch.states));
    } catch (error) {
      if (error.name !== "AbortError") fill(result, banner("error", error.message));
    }
  });
  load();
}

function readiness({ pairs = [], coverage, next, next_step: step, ready }, states) {
  const advice = step ? worded("advice", step.kind, { ...step, light: named("light", step.light) }, next) : next;
  return [
    banner(ready ? "good" : "warn", h("strong", {}, ready ? t("ready.yes") : t("ready.no")), advice ? [" ", advice] : null),
    pairs.length ? h("h2", {}, t("ready.pairs")) : null,
    h("div", { class: "bars" }, pairs.map((pair) => pairRow(pair))),
    h("h2", {}, t("ready.coverage")),
    coverageTable(coverage, states),
  ];
}

function pairRow({ a, b, accuracy, low, pictures: n, level, text }) {
  const known = accuracy !== null && accuracy !== undefined;
  const words = worded("pair", level, { a, b, n, right: Math.round((accuracy ?? 0) * n), low: formatPercent(low) }, text);
  return h(
    "div",
    { class: "pair" },
    h("span", {}, `${a} / ${b}`),
    h("span", { class: "bar", role: "img", "aria-label": known ? formatPercent(accuracy) : t("ready.unknown") }, h("i", { class: `bar-fill ${level === "weak" ? "b-state4" : "b-state2"}`, style: { width: percent(accuracy ?? 0) } })),
    h("span", {}, known ? formatPercent(accuracy) : "–"),
    words ? h("small", {}, words) : null,
  );
}

function coverageTable(coverage, states) {
  const lights = coverage?.lights ?? [];
  if (!lights.length) return h("p", { class: "muted" }, t("ready.nothing"));
  const cell = (n) => h("td", { class: n ? "" : "gap" }, n ? String(n) : t("ready.gap"));
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "group", "aria-label": t("ready.coverage") },
    h(
      "table",
      { class: "coverage" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("watch.state")), lights.map((light) => h("th", { scope: "col" }, named("light", light))))),
      h("tbody", {}, (coverage.states ?? states).map((state, row) => h("tr", {}, h("th", { scope: "row" }, state), lights.map((_, column) => cell(coverage.counts[row]?.[column] ?? 0))))),
    ),
  );
}

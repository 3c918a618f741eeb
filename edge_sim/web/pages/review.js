// Frames that the device was unsure of: one key or click each, many at once, and their undo.

import { get, path, post, withQuery } from "./api.js";
import { banner, button, empty, heading, stateBadge, stateText, toast, toastError } from "./components.js";
import { fill, h } from "./dom.js";
import { formatPercent, formatTime, t, worded } from "./i18n.js";

export async function reviewPage({ main, query, signal, go }) {
  const [watches, frames] = await Promise.all([get("api/watches", { signal }), get(withQuery("api/review", { watch: query.get("watch") }), { signal })]);
  const statesOf = new Map(watches.map(({ name, states }) => [name, states]));
  const names = [...new Set(frames.map(({ watch }) => watch))];
  const chosen = new Set();
  let current = 0;
  const grid = h("ul", { class: "review-grid", role: "listbox", "aria-label": t("review.title"), "aria-multiselectable": "true" });
  const actions = h("div", { class: "review-actions" });
  const outcome = h("div", { "aria-live": "polite" });
  const only = h("select", { "aria-label": t("time.watch"), onchange: () => go(withQuery("review", { watch: only.value })) }, h("option", { value: "" }, t("review.all")), [...new Set([...names, query.get("watch")].filter(Boolean))].map((name) => h("option", { value: name, selected: name === query.get("watch") }, name)));
  fill(main, heading(t("review.title"), names.length || query.get("watch") ? only : null));
  if (!frames.length) return main.append(empty(t("review.none"), t("review.none.text")));
  main.append(h("p", { class: "muted" }, t("review.keys")), actions, outcome, grid);

  const selected = () => (chosen.size ? frames.filter(({ id }) => chosen.has(id)) : frames.slice(current, current + 1));

  // States of the frames that are chosen; of several watches only those that all have.
  function offered() {
    const lists = [...new Set(selected().map(({ watch }) => watch))].map((name) => statesOf.get(name) ?? []);
    return lists.length ? lists[0].filter((state) => lists.every((list) => list.includes(state))) : [];
  }

  function draw() {
    current = Math.max(0, Math.min(current, frames.length - 1));
    if (!frames.length) {
      fill(actions);
      return fill(grid, h("li", { class: "muted" }, t("review.done")));
    }
    fill(grid, frames.map(card));
    fill(actions, h("span", {}, t("review.chosen", { n: selected().length })), offered().slice(0, 9).map((state, at) => button([h("kbd", {}, String(at + 1)), " ", state], () => decide(state))), button([h("kbd", {}, "U"), " ", t("state.unknown")], () => decide("unknown")), button([h("kbd", {}, "X"), " ", t("review.discard")], () => decide("discard"), { class: "danger" }));
  }

  function card(frame, at) {
    const { id, watch, guess, scores } = frame;
    const picture = frame.picture ? h("img", { src: frame.picture, alt: t("review.frame", { watch }), loading: "lazy" }) : h("span", { class: "none" }, t("live.private"));
    const best = scores.slice(0, 2).map(({ state, probability }) => `${state} ${formatPercent(probability)}`).join(" · ");
    return h(
      "li",
      { role: "option", "aria-selected": String(chosen.has(id)), tabindex: at === current ? "0" : "-1", class: at === current ? "current" : "", onclick: (event) => pick(at, event), data: { id } },
      picture,
      h("div", {}, h("b", {}, watch), " ", guess ? stateBadge(statesOf.get(watch), guess) : null, h("br"), h("small", {}, formatTime(frame.at), h("br"), best)),
    );
  }

  function pick(at, event) {
    const from = current;
    current = at;
    if (event.shiftKey) for (let place = Math.min(from, at); place <= Math.max(from, at); place++) chosen.add(frames[place].id);
    else if (chosen.has(frames[at].id)) chosen.delete(frames[at].id);
    else chosen.add(frames[at].id);
    draw();
    focusCurrent();
  }

  const focusCurrent = () => grid.children[current]?.focus({ preventScroll: false });

  // One decision at a time: what it is about is seen once the one before has been answered.
  async function decide(as) {
    const about = selected();
    if (waiting || !about.length) return;
    waiting = true;
    try {
      const found = await post("api/review", { decisions: about.map(({ id }) => ({ id, as })) }, { signal });
      const refused = new Set(found.refused.map(({ id }) => id));
      for (const { id } of about) {
        if (refused.has(id)) continue;
        frames.splice(frames.findIndex((frame) => frame.id === id), 1);
        chosen.delete(id);
      }
      last = found.undo;
      showOutcome(found);
      draw();
      focusCurrent();
    } catch (error) {
      toastError(error);
    } finally {
      waiting = false;
    }
  }

  let last = null;
  let waiting = false;

  function showOutcome({ refused, duplicates, changed, enrolled, discarded, undo }) {
    const parts = [t("review.outcome", { enrolled, discarded })];
    toast(parts.join(" "), { action: undo ? { label: t("undo"), run: takeBack } : undefined });
    fill(
      outcome,
      refused.length ? banner("warn", h("ul", {}, refused.map(({ id, reason, text }) => h("li", {}, `${id}: ${worded("refusal", reason, {}, text)}`)))) : null,
      duplicates.length ? banner("info", h("ul", {}, duplicates.map(({ id, text }) => h("li", {}, `${id}: ${worded("refusal", "duplicate", {}, text)}`)))) : null,
      changed.length ? banner("good", t("review.changed", { n: changed.length }), h("ul", {}, changed.slice(0, 8).map((event) => h("li", {}, h("a", { href: `#/${withQuery(path("time", event.watch), { event: event.event })}` }, formatTime(event.at)), ` ${stateText(event.from || "–")} → ${stateText(event.to || "–")}`)))) : null,
    );
  }

  async function takeBack() {
    if (!last || waiting) return;
    waiting = true;
    try {
      await post("api/review/undo", { undo: last }, { signal });
      last = null;
      frames.splice(0, frames.length, ...(await get(withQuery("api/review", { watch: query.get("watch") }), { signal })));
      fill(outcome);
      draw();
      toast(t("undone"));
    } catch (error) {
      toastError(error);
    } finally {
      waiting = false;
    }
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
    const states = offered();
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() };
    if (event.repeat && /^[1-9uxz]$/i.test(event.key)) return; // held down it decides once
    if (/^[1-9]$/.test(event.key) && states[event.key - 1]) decide(states[event.key - 1]);
    else if (event.key.toLowerCase() === "u") decide("unknown");
    else if (event.key.toLowerCase() === "x") decide("discard");
    else if (event.key.toLowerCase() === "z") takeBack();
    else if (event.key in moves && frames.length) {
      current = Math.max(0, Math.min(frames.length - 1, current + moves[event.key]));
      if (event.shiftKey) chosen.add(frames[current]?.id);
      draw();
      focusCurrent();
    } else if (event.key === " " && event.target.closest(".review-grid")) {
      pick(current, { shiftKey: false });
    } else return;
    event.preventDefault();
  }

  const columns = () => getComputedStyle(grid).gridTemplateColumns.split(" ").length;
  document.addEventListener("keydown", key, { signal });
  draw();
}

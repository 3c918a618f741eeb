// Small pieces that every page uses. Each returns a DOM node.

import { h } from "./dom.js";
import { formatNumber, formatPercent, named, t, worded } from "./i18n.js";

// Colour of a state: its place among the states of its watch, the same on every page.
export function stateColour(states, state) {
  const place = (states ?? []).indexOf(state);
  return place < 0 ? "unknown" : `state${place % 8}`;
}

// Name of a state: only `unknown` is a word of the device and has a translation.
export const stateText = (state) => (state === "unknown" ? t("state.unknown") : state ?? t("state.none"));

export function stateBadge(states, state) {
  return h("span", { class: `badge c-${stateColour(states, state)}` }, stateText(state));
}

// One row per state: name, bar with the enter (thick) and leave (thin) levels, score, and the
// probability where it is known. The highest first.
export function scoreBars(states, scores, thresholds = {}, probabilities = null) {
  const rows = (states ?? []).map((state) => [state, scores?.[state]]);
  rows.sort((a, b) => (b[1] ?? -1) - (a[1] ?? -1));
  return h("div", { class: "bars" }, rows.map(([state, score]) => scoreBar(states, state, score, thresholds?.[state], probabilities?.[state])));
}

function scoreBar(states, state, score, threshold, probability) {
  const mark = (kind, level) =>
    level === null || level === undefined ? null : h("i", { class: `mark ${kind}`, style: { left: percent(level) } });
  const label = threshold
    ? t("bars.label", {
        state,
        score: formatNumber(score),
        enter: formatNumber(threshold.enter),
        leave: formatNumber(threshold.leave),
      })
    : t("bars.plain", { state, score: formatNumber(score) });
  return h(
    "div",
    { class: "bar-row", title: label },
    h("span", { class: "bar-name" }, state),
    h(
      "span",
      { class: "bar", role: "img", "aria-label": label },
      h("i", { class: `bar-fill b-${stateColour(states, state)}`, style: { width: percent(score ?? 0) } }),
      mark("leave", threshold?.leave),
      mark("enter", threshold?.enter),
    ),
    h("span", { class: "bar-value", "aria-hidden": "true" }, formatNumber(score)),
    probability === undefined ? null : h("span", { class: "bar-value muted", title: t("bars.probability") }, formatPercent(probability)),
  );
}

export const percent = (share) => `${(Math.min(1, Math.max(0, share)) * 100).toFixed(2)}%`;

// A frame on a picture; the region is [x, y, w, h] in fractions of it.
export function regionBox([x, y, width, height]) {
  const style = { left: percent(x), top: percent(y), width: percent(width), height: percent(height) };
  return h("span", { class: "region-box", style, "aria-hidden": "true" });
}

// Show a picture that was fetched; it is released once it is shown, or when the next one comes first.
export function showBlob(image, blob) {
  const old = image.src;
  const url = URL.createObjectURL(blob);
  image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
  image.src = url;
  if (old.startsWith("blob:")) URL.revokeObjectURL(old);
}

export function button(label, onclick, attributes = {}) {
  return h("button", { type: "button", onclick, ...attributes }, label);
}

// A labelled input; the hint and a later error are read out with it.
export function field(label, input, hint) {
  const id = input.id || `f${Math.random().toString(36).slice(2)}`;
  input.id = id;
  const note = hint ? h("small", { id: `${id}-hint` }, hint) : null;
  if (note) input.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: id }, label), input, note);
}

export function banner(kind, ...children) {
  return h("div", { class: `banner ${kind}`, role: kind === "error" ? "alert" : "status" }, children);
}

export function empty(title, text, ...actions) {
  return h("div", { class: "empty" }, h("h2", {}, title), text ? h("p", {}, text) : null, h("p", { class: "actions" }, actions));
}

// A bar of progress; null is "busy, no telling how long".
export function progress(share, label) {
  const attributes = share === null ? {} : { value: share, max: 1 };
  const bar = h("progress", { "aria-label": label });
  if (share !== null) Object.assign(bar, attributes);
  return h("div", { class: "progress" }, bar, h("span", {}, label));
}

export function facts(rows) {
  return h(
    "dl",
    { class: "facts" },
    rows.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

let toasts = null;

// A short notice at the lower edge; with `action` {label, run} it stays long enough to be used.
export function toast(text, { kind = "info", action } = {}) {
  if (!toasts?.isConnected) {
    toasts = h("div", { class: "toasts", role: "status", "aria-live": "polite" });
    document.body.append(toasts);
  }
  const close = () => item.remove();
  const item = h(
    "div",
    { class: `toast ${kind}` },
    h("span", {}, text),
    action
      ? button(action.label, () => {
          close();
          action.run();
        }, { class: "link" })
      : null,
    button("×", close, { class: "close", "aria-label": t("close") }),
  );
  toasts.append(item);
  while (toasts.children.length > 3) toasts.firstChild.remove();
  setTimeout(close, action ? 20000 : kind === "error" ? 12000 : 5000);
  return close;
}

export const toastError = (error) => {
  if (error?.name !== "AbortError") toast(error?.message ?? String(error), { kind: "error" });
};

// Run what may fail with a button shown as busy; a failure becomes a notice. Returns the result or null.
export async function busy(element, action) {
  element?.setAttribute("aria-busy", "true");
  if (element) element.disabled = true;
  try {
    return await action();
  } catch (error) {
    toastError(error);
    return null;
  } finally {
    element?.removeAttribute("aria-busy");
    if (element) element.disabled = false;
  }
}

// A modal dialog. `actions` are {label, value, kind}; resolves with the value chosen, or null.
export function dialog(title, body, actions) {
  return new Promise((resolve) => {
    const finish = (value) => {
      element.close();
      element.remove();
      resolve(value);
    };
    const buttons = actions.map((action) => button(action.label, () => finish(action.value), { class: action.kind ?? "" }));
    const element = h(
      "dialog",
      { "aria-labelledby": "dialog-title", oncancel: () => finish(null) },
      h("h2", { id: "dialog-title" }, title),
      h("div", { class: "dialog-body" }, body),
      h("div", { class: "actions end" }, buttons),
    );
    document.body.append(element);
    element.showModal();
  });
}

export async function confirmed(title, text, label) {
  const actions = [
    { label: t("cancel"), value: false },
    { label, value: true, kind: "danger" },
  ];
  return (await dialog(title, h("p", {}, text), actions)) === true;
}

// Title of a page, read out and focused when the page opens.
export function heading(text, ...beside) {
  return h("div", { class: "heading" }, h("h1", { tabindex: "-1" }, text), h("div", { class: "actions" }, beside));
}

// What a reason or problem means, and what mends it.
export function reasonText(reason) {
  return reason ? `${named("reason", reason)} ${worded("fix", reason, {}, "")}` : null;
}


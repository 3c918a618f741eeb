// Pieces that the pages over all devices share. Each returns a DOM node, or ends with `signal`.

import { field, stateBadge, toastError } from "../pages/components.js";
import { h } from "../pages/dom.js";
import { named } from "../pages/i18n.js";
import { say } from "./texts.js";

const BAD = ["silent", "offline", "disk_full"];

// How bad a device is: "bad", "warn" or "".
export const degree = (problems) => (problems.some((name) => BAD.includes(name)) ? "bad" : problems.length ? "warn" : "");

export function problemTags(problems) {
  if (!problems.length) return h("span", { class: "problem good" }, say("ok"));
  return problems.map((name) => [h("span", { class: `problem ${BAD.includes(name) ? "bad" : ""}` }, say(name)), " "]);
}

// A state with its reason; the colour is that of its place among the states of the collection.
export function stateOf(states, state, reason) {
  return [stateBadge(states, state), reason ? h("small", {}, " ", named("reason.short", reason)) : null];
}

export const deviceAddress = (site, device) => `#/device/${encodeURIComponent(site)}/${encodeURIComponent(device)}`;

// A labelled list of names, the empty one first.
export function choice(label, names, value, onchange) {
  const select = h("select", { onchange: () => onchange?.(select.value) }, h("option", { value: "" }, say("all")), names.map((name) => h("option", { value: name, selected: name === value }, name)));
  return { select, field: field(label, select) };
}

// Call `action` now and again until the page is left; not while nobody sees it.
export async function again(seconds, signal, action) {
  await action();
  const timer = setInterval(() => {
    if (!document.hidden) action().catch(toastError);
  }, seconds * 1000);
  signal.addEventListener("abort", () => clearInterval(timer));
}

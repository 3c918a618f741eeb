// All devices of a collection, the worst first.

import { get, withQuery } from "../pages/api.js";
import { banner, empty, heading } from "../pages/components.js";
import { fill, fillWhenChanged, h } from "../pages/dom.js";
import { formatDuration, formatNumber } from "../pages/i18n.js";
import { again, choice, degree, deviceAddress, problemTags, stateOf } from "./parts.js";
import { say } from "./texts.js";

const EVERY_S = 10;

export async function devicesPage({ main, query, signal, go }) {
  const site = query.get("site") ?? "";
  const summary = h("div");
  const filters = h("div", { class: "filters fleet" });
  const body = h("div");
  fill(main, heading(say("devices")), filters, summary, body);
  await again(EVERY_S, signal, async () => {
    const { now, devices: every } = await get("api/devices", { signal });
    if (signal.aborted) return;
    const sites = [...new Set(every.map((item) => item.site))].sort();
    fillWhenChanged(filters, sites, () => (sites.length > 1 ? choice(say("site"), sites, site, (value) => go(withQuery("devices", { site: value }))).field : null));
    const shown = every.filter((item) => !site || item.site === site);
    const bad = shown.filter((item) => item.problems.length).length;
    fillWhenChanged(summary, [bad, shown.length], () => {
      if (!shown.length) return null;
      return bad ? banner("warn", say("problems", { bad, n: shown.length })) : banner("good", say("well", { n: shown.length }));
    });
    const focused = body.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    fillWhenChanged(body, [now, shown], () => (shown.length ? table(shown, Date.parse(now)) : empty(say("none"), say("noneText"))));
    if (focused) [...body.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
  });
}

function table(devices, now) {
  // One order for all of them, so that a state has one colour.
  const states = [...new Set(devices.flatMap((item) => Object.values(item.watches).map(({ state }) => state)))].filter((state) => state !== "unknown").sort();
  const head = ["device", "health", "states", "seen", "disk"].map((name) => h("th", { scope: "col" }, say(name)));
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, devices.map((item) => row(item, now, states)))));
}

function row(item, now, states) {
  const watches = Object.entries(item.watches).map(([name, { state, reason }]) => h("span", {}, `${name} `, stateOf(states, state, reason)));
  const free = item.stats?.disk_free_mb;
  return h(
    "tr",
    { class: `fleet-row ${degree(item.problems)}` },
    h("td", {}, h("a", { href: deviceAddress(item.site, item.device) }, item.device), h("br"), h("small", {}, item.site)),
    h("td", {}, problemTags(item.problems)),
    h("td", {}, h("div", { class: "states" }, watches)),
    h("td", {}, say("ago", { time: formatDuration((now - Date.parse(item.last_seen)) / 1000) })),
    h("td", {}, typeof free !== "number" ? "–" : free < 1000 ? `${formatNumber(free, 0)} MB` : `${formatNumber(free / 1000, 1)} GB`),
  );
}

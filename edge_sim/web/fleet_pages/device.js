// One device: its watches, the changes of every day, and its history with pictures.

import { get, withQuery } from "../pages/api.js";
import { busy, button, empty, facts, heading, stateBadge, stateColour } from "../pages/components.js";
import { fill, h } from "../pages/dom.js";
import { formatNumber, formatTime, named } from "../pages/i18n.js";
import { problemTags, stateOf } from "./parts.js";
import { say } from "./texts.js";

const SHOWN = 50;
const DAYS = 30;
const DAY_MS = 86400000;
// Kinds of events, and outcomes of packs, that have a text; others are named as they are.
const KINDS = ["device_silent", "device_returned", "source_lost", "source_restored", "pack_reported", "scene_impaired", "scene_cleared", "overdue", "overdue_cleared", "too_short", "too_long", "implausible_transition", "drift", "activated", "refused", "rolled_back"];

export async function devicePage({ main, parts, signal }) {
  const [site, device] = parts;
  const { devices } = await get(withQuery("api/devices", { site }), { signal });
  const status = devices.find((item) => item.device === device);
  if (!status) return fill(main, empty(say("noDevice", { name: `${site}/${device}` }), ""));
  const place = { site, device };
  const [{ counts }, { events }] = await Promise.all([
    get(withQuery("api/counts", { ...place, days: DAYS }), { signal }),
    get(withQuery("api/events", { ...place, limit: SHOWN }), { signal }),
  ]);
  const states = [...new Set(counts.map(({ state }) => state))].filter((state) => state !== "unknown").sort();
  const watches = Object.entries(status.watches).map(([name, { state, reason, since }]) => [name, [stateOf(states, state, reason), h("small", {}, ` ${formatTime(since)}`)]]);
  const rows = h("tbody", {}, events.map((item) => historyRow(item, states)));
  const more = button(say("older"), () => busy(more, async () => {
    const before = events.at(-1).event.at;
    const found = await get(withQuery("api/events", { ...place, before, limit: SHOWN }), { signal });
    events.push(...found.events);
    rows.append(...found.events.map((item) => historyRow(item, states)));
    more.hidden = found.events.length < SHOWN;
  }), { hidden: events.length < SHOWN });
  const head = ["time", "watch", "event", "picture"].map((name) => h("th", { scope: "col" }, say(name)));
  const history = events.length ? [h("div", { class: "scroll" }, h("table", { class: "history" }, h("thead", {}, h("tr", {}, head)), rows)), h("p", { class: "actions" }, more)] : h("p", { class: "muted" }, say("noHistory"));
  fill(
    main,
    heading(device, h("span", { class: "muted" }, site)),
    h("p", {}, problemTags(status.problems)),
    facts([[say("seen"), formatTime(status.last_seen)], ...watches]),
    h("section", {}, h("h2", {}, say("perDay")), barsByDay(counts, states)),
    h("section", {}, h("h2", {}, say("history")), history),
  );
}

const kind = (name) => (KINDS.includes(name) ? say(name) : String(name).replaceAll("_", " "));

function packText({ pack, version, outcome, reason }) {
  return [` ${pack} ${version}: ${kind(outcome)}`, reason ? [h("br"), h("small", {}, reason)] : null];
}

function historyRow({ site, device, event, picture }, states) {
  const what = event.type === "state_changed"
    ? stateOf(states, event.after, event.reason)
    : [kind(event.type), event.problem ? ` ${named("problem", event.problem)}` : null, event.type === "pack_reported" ? packText(event) : null];
  const alike = h("a", { href: `#/${withQuery("search", { event: `${site}/${device}/${event.id}` })}` }, say("alike"));
  const shown = picture ? [h("img", { src: picture, alt: `${event.watch ?? ""} ${event.after ?? ""}`, loading: "lazy" }), alike] : null;
  return h("tr", {}, h("td", {}, formatTime(event.at)), h("td", {}, event.watch ?? "–"), h("td", {}, what), h("td", {}, shown));
}

// Stacked bars, one a day, the present day on the right.
function barsByDay(counts, states) {
  const names = [...states, ...(counts.some(({ state }) => state === "unknown") ? ["unknown"] : [])];
  const today = Math.floor(Date.now() / DAY_MS);
  const days = Array.from({ length: DAYS }, () => ({}));
  for (const { day, state, changes } of counts) {
    const at = DAYS - 1 - (today - Math.floor(Date.parse(`${day}T00:00:00Z`) / DAY_MS));
    if (at in days) days[at][state] = changes;
  }
  const totals = days.map((day) => Object.values(day).reduce((sum, value) => sum + value, 0));
  const most = Math.max(1, ...totals);
  const bars = days.flatMap((day, at) => {
    let top = 100;
    return names.filter((name) => day[name]).map((name) => {
      const height = (day[name] / most) * 96;
      top -= height;
      return h("rect", { x: at * 10 + 1, y: top.toFixed(2), width: 8, height: height.toFixed(2), class: `s${stateColour(states, name).replace("state", "")}` });
    });
  });
  const sum = totals.reduce((a, b) => a + b, 0);
  const label = say("perDayLabel", { n: formatNumber(sum, 0), most: formatNumber(Math.max(0, ...totals), 0) });
  return h("div", {}, h("svg", { viewBox: `0 0 ${DAYS * 10} 100`, preserveAspectRatio: "none", class: "bars-by-day", role: "img", "aria-label": label }, bars), h("div", { class: "legend" }, names.map((name) => stateBadge(states, name))), h("p", { class: "muted" }, label));
}

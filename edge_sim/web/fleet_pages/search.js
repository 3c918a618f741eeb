// Search across devices: by a picture, by words, or by the picture of an event.

import { get, post, withQuery } from "../pages/api.js";
import { banner, busy, empty, field, heading, stateBadge } from "../pages/components.js";
import { fill, h } from "../pages/dom.js";
import { formatNumber, formatTime } from "../pages/i18n.js";
import { choice, deviceAddress } from "./parts.js";
import { say } from "./texts.js";

const SHOWN = 24;

// The beginning of a day where the browser is: times are shown by its clock, so days are meant by it.
const beginning = (day) => (/^\d{4}-\d\d-\d\d$/.test(day) && Date.parse(`${day}T00:00`) ? new Date(`${day}T00:00`).toISOString() : day);
const spanned = (chosen) => ({ ...chosen, since: beginning(chosen.since), until: beginning(chosen.until) });

export async function searchPage({ main, query, signal, go }) {
  const wanted = Object.fromEntries(["text", "event", "site", "device", "watch", "state", "since", "until"].map((name) => [name, query.get(name) ?? ""]));
  const { devices } = await get("api/devices", { signal });
  const distinct = (values) => [...new Set(values)].sort();
  const watches = devices.flatMap((item) => Object.entries(item.watches));
  const selects = {
    site: choice(say("site"), distinct(devices.map((item) => item.site)), wanted.site),
    device: choice(say("device"), distinct(devices.map((item) => item.device)), wanted.device),
    watch: choice(say("watch"), distinct(watches.map(([name]) => name)), wanted.watch),
  };
  const text = h("input", { type: "search", value: wanted.text, placeholder: "bowl of food" });
  const file = h("input", { type: "file", accept: "image/*" });
  const state = h("input", { value: wanted.state, autocomplete: "off" });
  const since = h("input", { type: "date", value: wanted.since });
  const until = h("input", { type: "date", value: wanted.until });
  const result = h("div", { "aria-live": "polite" });
  const submit = h("button", { class: "primary" }, say("start"));
  const chosen = () => ({ ...Object.fromEntries(Object.entries(selects).map(([name, { select }]) => [name, select.value])), state: state.value.trim(), since: since.value, until: until.value });
  const form = h("form", { class: "filters fleet", onsubmit: (event) => {
    event.preventDefault();
    if (!file.files[0]) return go(withQuery("search", { text: text.value.trim(), event: text.value.trim() ? "" : wanted.event, ...chosen() }));
    const sent = new FormData();
    sent.append("file", file.files[0]);
    return busy(submit, async () => draw(await post(withQuery("api/search", { k: SHOWN, ...spanned(chosen()) }), sent, { signal })));
  } }, field(say("query"), file), field(say("words"), text), Object.values(selects).map((item) => item.field), field(say("state"), state), field(say("from"), since), field(say("until"), until), submit, h("small", {}, say("localDay")));
  fill(main, heading(say("search")), form, result);

  function draw({ found, unknown = [] }) {
    const states = distinct(found.map((item) => item.state));
    const hints = unknown.map((line) => banner("warn", line));
    if (!found.length) return fill(result, hints, empty(say("nothing"), say("nothingText")));
    fill(result, hints, h("p", { class: "muted" }, say("found", { n: found.length })), h("ul", { class: "found" }, found.map((item) => foundItem(item, states))));
  }

  if (!wanted.text && !wanted.event) return fill(result, h("p", { class: "muted" }, say("hint")));
  if (wanted.event) form.after(h("p", {}, say("alikeTo", { id: wanted.event })));
  try {
    draw(await get(withQuery("api/search", { k: SHOWN, ...spanned(wanted) }), { signal }));
  } catch (error) {
    if (!(error.status > 0)) throw error;
    fill(result, banner("error", error.message));
  }
}

function foundItem({ site, device, id, at, watch, state, score, picture }, states) {
  const label = `${watch} ${state}, ${device}`;
  const shown = picture ? h("img", { src: picture, alt: label, loading: "lazy" }) : h("div", { class: "none" }, say("noPicture"));
  return h("li", {}, h("figure", {}, shown, h("figcaption", {}, h("b", {}, say("similarity", { score: formatNumber(score, 3) })), h("span", {}, `${watch} `, stateBadge(states, state)), h("a", { href: deviceAddress(site, device) }, `${site} / ${device}`), h("small", {}, formatTime(at)), h("a", { href: `#/${withQuery("search", { event: `${site}/${device}/${id}` })}` }, say("alike")))));
}

// One watch in large: the whole picture with its region, what the model sees, scores and references.

import { get, may, patch, path, remove, subscribe } from "./api.js";
import { banner, busy, button, confirmed, facts, field, heading, toast, toastError } from "./components.js";
import { fill, fillWhenChanged, h } from "./dom.js";
import { formatNumber, named, t } from "./i18n.js";
import { watchCard } from "./live.js";

export async function watchPage({ main, parts, signal, go }) {
  const [name] = parts;
  const watches = await get("api/watches", { signal });
  const watch = watches.find((candidate) => candidate.name === name);
  if (!watch) return fill(main, banner("warn", t("watch.none", { watch: name })));
  const card = watchCard(watch, signal, { large: true });
  const beside = h("div");
  const link = (start, text, ...rest) => h("a", { class: "button small", href: `#/${path(start, name, ...rest)}` }, t(text));
  const links = [link("time", "nav.time"), link("gallery", "nav.gallery"), may("admin") ? link("edit", "watch.region", "region") : null];
  fill(main, heading(name, links), h("div", { class: "watch-large" }, card.element, h("div", {}, beside, may("admin") ? settings({ ...watch }, go) : null)));

  function show(changed) {
    if (changed.name !== name) return;
    if (changed.removed) return fill(main, banner("warn", t("watch.none", { watch: name })));
    card.update(changed);
    fillWhenChanged(beside, [changed.references, changed.thresholds, changed.novelty, changed.margin], () => [
      h("h2", {}, t("watch.references")),
      referenceTable(changed),
      h("h2", {}, t("watch.numbers")),
      facts([
        [t("watch.margin"), formatNumber(changed.margin)],
        changed.novelty && [t("watch.novelty"), formatNumber(changed.novelty.value)],
        [t("watch.revision"), String(changed.gallery_revision ?? "–")],
        [t("watch.observations"), formatNumber(changed.observations, 0)],
      ]),
    ]);
  }

  show(watch);
  subscribe("watch", show, signal);
  subscribe("device", ({ sources = [] }) => card.camera(sources), signal);
  const clock = setInterval(card.tick, 1000);
  signal.addEventListener("abort", () => clearInterval(clock));
}

// What is decided per watch: private, sensitivity, whether it is watched at all.
function settings(watch, go) {
  const address = path("api/watches", watch.name);
  const change = async (body) => {
    try {
      await patch(address, body);
      Object.assign(watch, body);
      toast(t("watch.saved"));
    } catch (error) {
      toastError(error);
      hidden.checked = watch.private; // what is in force is shown
      slider.value = watch.sensitivity ?? 0.5;
      value.textContent = formatNumber(watch.sensitivity);
    }
  };
  const hidden = h("input", { type: "checkbox", id: "private", checked: watch.private, onchange: () => change({ private: hidden.checked }) });
  const value = h("output", {}, formatNumber(watch.sensitivity));
  const slider = h("input", { type: "range", min: "0", max: "1", step: "0.05", value: watch.sensitivity ?? 0.5, oninput: () => (value.textContent = formatNumber(Number(slider.value))), onchange: () => change({ sensitivity: Number(slider.value) }) });
  const drop = button(t("watch.remove"), async () => {
    if (!(await confirmed(t("watch.remove"), t("watch.remove.sure", { watch: watch.name }), t("watch.remove")))) return;
    const gone = await busy(drop, async () => (await remove(address)) ?? {});
    if (!gone) return;
    toast(t("watch.removed", { watch: watch.name }));
    go("live");
  }, { class: "danger small" });
  return h(
    "section",
    {},
    h("h2", {}, t("watch.settings")),
    h("div", { class: "with-value" }, field(t("watch.sensitivity"), slider, t("watch.sensitivity.hint")), value),
    h("p", {}, h("label", { for: "private" }, hidden, " ", t("watch.private"))),
    h("p", { class: "actions" }, drop),
  );
}

// References per state and light, with the levels in force.
function referenceTable({ states, references = {}, thresholds = {} }) {
  const lights = ["day", "dusk", "ir", "dark"].filter((light) => states.some((state) => references[state]?.[light]));
  const heads = [t("watch.state"), ...lights.map((light) => named("light", light)), t("watch.enter"), t("watch.leave")];
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "group", "aria-label": t("watch.references") },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, states.map((state) => h(
        "tr",
        {},
        h("th", { scope: "row" }, state),
        lights.map((light) => h("td", {}, String(references[state]?.[light] ?? 0))),
        h("td", {}, formatNumber(thresholds[state]?.enter)),
        h("td", {}, formatNumber(thresholds[state]?.leave)),
      ))),
    ),
  );
}

// References of a watch by state and light, each with what the audit says of it; changes with undo.

import { get, may, path, post } from "./api.js";
import { banner, button, confirmed, empty, heading, stateBadge, toast, toastError } from "./components.js";
import { fill, h } from "./dom.js";
import { formatTime, named, t, worded } from "./i18n.js";

const FRAMES = { error: "wrong", warning: "warn", note: "" };

export async function galleryPage({ main, parts, signal, go }) {
  const watches = await get("api/watches", { signal });
  const watch = watches.find(({ name }) => name === parts[0]) ?? watches[0];
  if (!watch) return fill(main, empty(t("live.none"), t("live.none.text")));
  if (!parts.length) return go(path("gallery", watch.name), { instead: true });
  const address = path("api/watches", watch.name, "gallery");
  const chosen = new Set();
  const body = h("div");
  const actions = h("div", { class: "gallery-actions", "aria-live": "polite" });
  const choice = h("select", { "aria-label": t("time.watch"), onchange: () => go(path("gallery", choice.value)) }, watches.map(({ name }) => h("option", { value: name, selected: name === watch.name }, name)));
  const links = may("operator") ? [h("a", { class: "button", href: `#/${path("edit", watch.name, "teach")}` }, t("gallery.more"))] : [];
  fill(main, heading(t("gallery.title", { watch: watch.name }), choice, links), body);
  let view = null;

  async function load() {
    view = await get(address, { signal });
    chosen.forEach((id) => view.references.some((item) => item.id === id) || chosen.delete(id));
    draw();
  }

  function draw() {
    const moved = view.findings.map(({ text, kind }) => banner("warn", worded("finding.all", kind, {}, text), kind === "region_moved" && may("operator") ? h("p", { class: "actions" }, h("a", { class: "button", href: `#/${path("edit", watch.name, "teach")}` }, t("gallery.retake")), may("admin") ? h("a", { class: "button", href: `#/${path("edit", watch.name, "region")}` }, t("watch.region")) : null) : null));
    const groups = view.states.flatMap((state) => {
      const own = view.references.filter((item) => item.state === state);
      const lights = [...new Set(own.map(({ light }) => light))].sort();
      return h("section", {}, h("h2", {}, stateBadge(watch.states, state), " ", h("small", {}, t("gallery.count", { n: own.length }))), own.length ? lights.map((light) => h("div", {}, h("h3", { class: "muted" }, named("light", light)), h("ul", { class: "picture-grid" }, own.filter((item) => item.light === light).map(card)))) : h("p", { class: "muted" }, t("gallery.empty")));
    });
    fill(body, moved, actions, groups, history);
    drawActions();
  }

  function card(item) {
    const worst = ["error", "warning"].find((severity) => item.findings.some((finding) => finding.severity === severity));
    const box = may("operator") ? h("input", { type: "checkbox", checked: chosen.has(item.id), "aria-label": t("gallery.choose", { id: item.id }), onchange: () => {
      if (box.checked) chosen.add(item.id);
      else chosen.delete(item.id);
      drawActions();
    } }) : null;
    const picture = item.picture ? h("img", { src: `${item.picture}?w=320`, alt: `${item.state}, ${item.id}`, loading: "lazy" }) : h("span", { class: "none" }, t("live.private"));
    const tags = item.tags.map((tag) => h("span", { class: "tag" }, tag));
    const findings = item.findings.map(({ kind, text, severity, other, other_state: state }) => h("span", { class: `note ${severity === "note" ? "" : "warn"}` }, worded("finding", kind, { other, state }, text), other ? h("img", { class: "other", src: path("api/watches", watch.name, "gallery", `${other}.jpg`), alt: other }) : null));
    return h("li", { class: worst ? `marked ${FRAMES[worst]}` : "", data: { id: item.id } }, h("figure", {}, picture, h("figcaption", {}, h("label", {}, box, " ", h("b", {}, formatTime(item.added_at))), h("br"), item.id, tags.length ? [h("br"), tags] : null, findings)));
  }

  function drawActions() {
    if (!chosen.size) return fill(actions, may("operator") ? h("p", { class: "muted" }, t("gallery.hint")) : null);
    const state = h("select", { "aria-label": t("gallery.move") }, h("option", { value: "" }, t("gallery.move")), view.states.map((name) => h("option", { value: name }, name)));
    state.addEventListener("change", () => state.value && change({ op: "move", state: state.value }));
    const tag = h("input", { placeholder: t("gallery.tag"), "aria-label": t("gallery.tag"), maxlength: "64", onkeydown: ({ key }) => key === "Enter" && tag.value.trim() && change({ op: "tag", tag: tag.value.trim() }) });
    fill(actions, h("b", {}, t("review.chosen", { n: chosen.size })), state, tag, button(t("gallery.remove"), removeChosen, { class: "danger" }), button(t("gallery.none"), () => {
      chosen.clear();
      draw();
    }, { class: "link" }));
  }

  async function removeChosen() {
    if (await confirmed(t("gallery.remove"), t("gallery.remove.text", { n: chosen.size }), t("gallery.remove"))) change({ op: "remove" });
  }

  async function change(wanted) {
    try {
      const { revision } = await post(address, { ids: [...chosen], ...wanted }, { signal });
      chosen.clear();
      await load();
      toast(t("gallery.changed", { revision }), { action: { label: t("undo"), run: () => takeBack(revision) } });
    } catch (error) {
      toastError(error);
    }
  }

  async function takeBack(revision) {
    try {
      await post(`${address}/undo`, { revision }, { signal });
      await load();
      toast(t("undone"));
    } catch (error) {
      toastError(error);
    }
  }

  const list = h("div");
  const history = h("details", { ontoggle: () => history.open && showHistory() }, h("summary", {}, t("gallery.history")), list);

  async function showHistory() {
    try {
      const revisions = await get(path("api/watches", watch.name, "revisions"), { signal });
      const rows = revisions.map((item, at) => h("tr", {}, h("td", {}, String(item.number)), h("td", {}, formatTime(item.at)), h("td", {}, `${item.verb} ${item.detail}`), h("td", {}, `+${item.appeared} −${item.gone}`), h("td", {}, at && may("operator") ? button(t("gallery.back"), () => goBack(item.number), { class: "small" }) : null)));
      fill(list, h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": t("gallery.history") }, h("table", {}, h("tbody", {}, rows))));
    } catch (error) {
      toastError(error);
    }
  }

  async function goBack(number) {
    if (!(await confirmed(t("gallery.back"), t("gallery.back.text", { number }), t("gallery.back")))) return;
    try {
      await post(path("api/watches", watch.name, "revisions", String(number)), {}, { signal });
      await load();
      await showHistory();
    } catch (error) {
      toastError(error);
    }
  }

  await load();
}

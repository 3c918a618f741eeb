// A folder of pictures that was indexed: search by picture or region, filters, tags, map, duplicates.

import { get, may, post, withQuery } from "./api.js";
import { banner, busy, button, empty, facts, heading, toast, toastError } from "./components.js";
import { pointMap } from "./diagram.js";
import { fill, h } from "./dom.js";
import { formatNumber, t } from "./i18n.js";

const SHOWN = 60;
const VIEWS = ["pictures", "map", "duplicates"];

const BUILDING_MS = 5000;

function stateOf({ update, ready, reason }) {
  if (!update) return ready ? null : banner("warn", reason);
  const share = formatNumber(Math.floor((100 * update.done) / Math.max(1, update.total)), 0);
  return banner(update.running ? "info" : "warn", t(update.running ? "collection.building" : "collection.stopped", { share }));
}

// Show how far the index is, and open it anew at the end.
function followBuild(state, signal, reopen) {
  const clock = setInterval(async () => {
    const overview = await get("api/collection", { signal }).catch(() => null);
    if (!overview || signal.aborted) return;
    fill(state, stateOf(overview));
    if (overview.update?.running) return;
    clearInterval(clock);
    if (!overview.update && overview.ready) toast(t("collection.finished", { n: formatNumber(overview.pictures, 0) }));
    reopen();
  }, BUILDING_MS);
  signal.addEventListener("abort", () => clearInterval(clock));
}

export async function collectionPage({ main, query, signal, go }) {
  let overview;
  try {
    overview = await get("api/collection", { signal });
  } catch (error) {
    if (error.status !== 404) throw error;
    return fill(main, heading(t("collection.title")), empty(t("collection.none"), error.message));
  }
  const view = VIEWS.includes(query.get("view")) ? query.get("view") : "pictures";
  const wanted = { filter: query.get("filter") ?? "", id: query.get("id"), region: query.get("region"), order: query.get("order"), text: query.get("text") };
  const address = (changes) => withQuery("collection", { view: view === "pictures" ? null : view, ...wanted, ...changes });
  const chosen = new Set();
  const tabs = VIEWS.map((name) => button(t(`collection.${name}`), () => go(address({ view: name })), { class: "small", "aria-pressed": String(name === view) }));
  const body = h("div");
  const actions = h("div", { class: "gallery-actions", "aria-live": "polite" });
  const tagActions = () => (may("operator") ? drawTagActions(actions, chosen, overview.tags, untick, () => redo().catch(toastError)) : null);
  const state = h("div", {}, stateOf(overview));
  if (overview.update?.running) followBuild(state, signal, () => go(address({})));
  fill(main, heading(t("collection.title"), h("div", { class: "actions" }, tabs)), facts([[t("collection.count"), formatNumber(overview.pictures, 0)], [t("collection.kind"), overview.kind], [t("settings.model"), overview.model]]), state, view === "pictures" ? filterForm(overview, wanted, (changes) => go(address(changes)), upload) : null, actions, body);

  let redo = show; // what fetched the pictures that are shown

  // A map draws what is chosen; elsewhere boxes alone change, and pictures that were loaded stay.
  function untick() {
    chosen.clear();
    if (view === "map") redo().catch(toastError);
    else body.querySelectorAll("input").forEach((box) => (box.checked = false));
  }

  async function show() {
    if (view === "map") return showMap(body, chosen, tagActions, signal);
    if (view === "duplicates") return showDuplicates(body, chosen, tagActions, signal);
    const found = wanted.id || wanted.text
      ? await get(withQuery("api/collection/search", { ...wanted, k: SHOWN }), { signal })
      : await get(withQuery("api/collection/pictures", { filter: wanted.filter, k: SHOWN }), { signal });
    showPictures(found);
  }

  function showPictures(found) {
    const total = found.eligible ?? found.total;
    fill(body, [...(found.unknown ?? []), ...found.hints].map((hint) => banner("warn", hint)), h("p", { class: "muted" }, t("collection.found", { n: total })), h("ul", { class: "picture-grid" }, found.pictures.map((item) => pictureItem(item, chosen, tagActions, (changes) => go(address(changes))))));
    if (!wanted.id && !wanted.text && found.pictures.length < total) {
      const more = button(t("collection.more"), () => busy(more, async () => {
        const list = body.querySelector(".picture-grid");
        const next = await get(withQuery("api/collection/pictures", { filter: wanted.filter, k: SHOWN, offset: list.children.length }), { signal });
        list.append(...next.pictures.map((item) => pictureItem(item, chosen, tagActions, (changes) => go(address(changes)))));
        more.hidden = list.children.length >= total;
      }));
      body.append(more);
    }
  }

  function upload(file) {
    const form = new FormData();
    form.append("file", file);
    redo = async () => showPictures(await post(withQuery("api/collection/search", { filter: wanted.filter, k: SHOWN }), form, { signal }));
    redo().catch(toastError);
  }

  tagActions();
  try {
    await show();
  } catch (error) {
    if (!(error.status > 0)) throw error;
    fill(body, banner("error", error.message));
  }
}

// The filter as text and as tokens, a picture to search by, and the order.
function filterForm({ tags, keys }, wanted, change, upload) {
  const text = h("input", { type: "search", value: wanted.filter, placeholder: "state = open and not tag = dark", "aria-label": t("collection.filter"), list: "filter-keys" });
  const known = h("datalist", { id: "filter-keys" }, keys.map((key) => h("option", { value: `${key} = ` })));
  const tokens = wanted.filter.split(/\s+and\s+/i).filter(Boolean).map((part, at, all) => h("span", { class: "tag" }, part, button("×", () => change({ filter: all.filter((_, place) => place !== at).join(" and ") }), { class: "link", "aria-label": t("collection.without", { part }) })));
  const offered = Object.entries(tags).slice(0, 20).map(([tag, count]) => button(`${tag} ${count}`, () => change({ filter: [wanted.filter, `tag = "${tag}"`].filter(Boolean).join(" and ") }), { class: "small" }));
  const file = h("input", { type: "file", accept: "image/*", id: "query-picture", onchange: () => file.files[0] && upload(file.files[0]) });
  const words = h("input", { type: "search", value: wanted.text ?? "", "aria-label": t("collection.words"), placeholder: t("collection.words"), onkeydown: (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    change({ text: words.value.trim() || null, id: null, region: null });
  } });
  const order = wanted.id || wanted.text ? button(t(wanted.order === "least" ? "collection.most" : "collection.least"), () => change({ order: wanted.order === "least" ? null : "least" }), { class: "small" }) : null;
  const all = wanted.id || wanted.text ? button(t("collection.all"), () => change({ id: null, region: null, order: null, text: null }), { class: "small" }) : null;
  return h("form", { class: "filters", onsubmit: (event) => {
    event.preventDefault();
    change({ filter: text.value.trim() });
  } }, text, h("button", { type: "submit", class: "small" }, t("collection.filter")), known, h("p", { class: "actions" }, /\bor\b|[()]/i.test(wanted.filter) ? null : tokens, offered, order, all), words, h("label", { for: "query-picture" }, t("collection.query"), " "), file);
}

function pictureItem(item, chosen, changed, search) {
  const box = may("operator") ? h("input", { type: "checkbox", checked: chosen.has(item.id), "aria-label": t("gallery.choose", { id: item.name }), onchange: () => {
    if (box.checked) chosen.add(item.id);
    else chosen.delete(item.id);
    changed();
  } }) : null;
  const score = item.score ?? item.likeness;
  const lines = [score === undefined ? null : h("b", {}, formatNumber(score, 3)), " ", item.name];
  const tags = item.tags.map((tag) => h("span", { class: "tag" }, tag));
  return h("li", { data: { id: item.id } }, h("figure", {}, h("img", { src: `${item.picture}?w=320`, alt: item.name, loading: "lazy" }), h("figcaption", {}, h("label", {}, box, " ", lines), h("br"), tags, search ? [button(t("collection.alike"), () => search({ id: item.id, region: null, order: null, text: null }), { class: "link" }), " ", button(t("collection.part"), () => chooseRegion(item, search), { class: "link" })] : null)));
}

// A rectangle drawn over the picture is searched for.
function chooseRegion(item, search) {
  const box = h("span", { class: "region-box" });
  const frame = h("div", { class: "picture drawable" }, h("img", { src: `${item.picture}?w=960`, alt: item.name, draggable: "false" }), box);
  const element = h("dialog", { class: "wide", "aria-label": t("collection.part") }, h("p", {}, t("collection.draw")), frame, h("p", { class: "actions end" }, button(t("cancel"), () => element.close())));
  let start = null;
  const at = (event) => {
    const area = frame.getBoundingClientRect();
    return [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height].map((value) => Math.min(1, Math.max(0, value)));
  };
  const region = (a, b) => [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.abs(a[0] - b[0]), Math.abs(a[1] - b[1])];
  const draw = (found) => ["left", "top", "width", "height"].forEach((name, place) => box.style.setProperty(name, `${found[place] * 100}%`));
  frame.addEventListener("pointerdown", (event) => {
    start = at(event);
    frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => start && draw(region(start, at(event))));
  frame.addEventListener("pointerup", (event) => {
    if (!start) return; // it was pressed elsewhere
    const found = region(start, at(event));
    start = null;
    if (found[2] < 0.03 || found[3] < 0.03) return;
    element.close();
    search({ id: item.id, region: found.map((value) => value.toFixed(4)).join(","), order: null, text: null });
  });
  element.addEventListener("close", () => element.remove());
  document.body.append(element);
  element.showModal();
}

function drawTagActions(place, chosen, tags, untick, changed) {
  if (!chosen.size) return fill(place);
  const ids = [...chosen];
  const name = h("input", { placeholder: t("gallery.tag"), "aria-label": t("gallery.tag"), list: "known-tags", maxlength: "64", onkeydown: (event) => {
    if (event.key === "Enter" && name.value.trim()) change({ add: [name.value.trim()] });
  } });
  const known = h("datalist", { id: "known-tags" }, Object.keys(tags).map((tag) => h("option", { value: tag })));
  const drop = h("select", { "aria-label": t("collection.untag"), onchange: () => drop.value && change({ drop: [drop.value] }) }, h("option", { value: "" }, t("collection.untag")), Object.keys(tags).map((tag) => h("option", { value: tag }, tag)));
  fill(place, h("b", {}, t("review.chosen", { n: ids.length })), name, known, drop, button(t("gallery.none"), () => {
    untick();
    fill(place);
  }, { class: "link" }));

  async function change(what) {
    try {
      const found = await post("api/collection/tags", { ids, ...what });
      Object.assign(tags, found.tags);
      chosen.clear();
      fill(place);
      toast(t("collection.tagged", { n: found.added + found.dropped }));
      changed();
    } catch (error) {
      toastError(error);
    }
  }
}

// Every picture as a point; a lasso chooses those that it encloses.
async function showMap(body, chosen, changed, signal) {
  const found = await get("api/collection/map", { signal });
  const choose = (places) => {
    places.forEach((at) => chosen.add(found.ids[at]));
    map.draw();
    changed();
  };
  const map = pointMap({ ...found, label: t("collection.map.label", { n: found.ids.length }), isChosen: (at) => chosen.has(found.ids[at]), choose });
  const typical = h("ul", { class: "picture-grid" }, found.typical.map((item, group) => h("li", {}, h("figure", {}, h("img", { src: `${item.picture}?w=320`, alt: item.name, loading: "lazy" }), h("figcaption", {}, h("b", {}, t("collection.group", { n: group + 1 })), " ", formatNumber(found.groups.filter((one) => one === group).length, 0), h("br"), button(t("collection.choose"), () => choose(found.groups.flatMap((one, at) => (one === group ? [at] : []))), { class: "link" }))))));
  fill(body, h("p", { class: "muted" }, t("collection.lasso")), map.canvas, h("h2", {}, t("collection.groups")), typical);
  map.draw();
}

async function showDuplicates(body, chosen, changed, signal) {
  fill(body, h("p", { class: "muted" }, t("collection.comparing")));
  const found = await get("api/collection/duplicates", { signal });
  if (!found.groups.length) return fill(body, empty(t("collection.noduplicates"), ""));
  fill(body, h("p", { class: "muted" }, t("collection.duplicates.text", { n: found.total })), button(t("collection.choose.redundant"), () => {
    found.groups.forEach(({ redundant }) => redundant.forEach(({ id }) => chosen.add(id)));
    body.querySelectorAll(".redundant input").forEach((box) => (box.checked = true));
    changed();
  }), found.groups.map(({ keep, redundant }, at) => h("section", {}, h("h2", {}, t("collection.group", { n: at + 1 })), h("ul", { class: "picture-grid" }, keep.map((item) => {
    const shown = pictureItem(item, chosen, changed);
    shown.className = "marked good";
    return shown;
  }), redundant.map((item) => {
    const shown = pictureItem(item, chosen, changed);
    shown.className = "redundant";
    return shown;
  })))));
}

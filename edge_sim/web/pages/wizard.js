// From a camera's address to a watch: source, region, states; then teaching (teach.js).

import { get, may, patch, path, post, remove, withQuery } from "./api.js";
import { banner, busy, button, field, heading, progress, showBlob, toast, toastError } from "./components.js";
import { fill, h, throttle } from "./dom.js";
import { t } from "./i18n.js";
import { regionEditor } from "./region.js";
import { followPicture, readyStep, teachStep } from "./teach.js";

const STEPS = ["source", "region", "states", "teach", "ready"];
const FRAME_EVERY_MS = 400;
const LOST_MS = 3000;
const FRAME_PX = 960;

function stepsHeader(current, links = {}) {
  return h(
    "ol",
    { class: "steps", "aria-label": t("wizard.steps") },
    STEPS.map((step, place) => {
      const text = t(`wizard.step.${step}`);
      const inner = links[step] && step !== current ? h("a", { href: links[step] }, text) : text;
      return h("li", { "aria-current": step === current ? "step" : null, class: place < STEPS.indexOf(current) ? "done" : "" }, inner);
    }),
  );
}

export async function wizardPage({ main, query, signal, go }) {
  const watches = await get("api/watches", { signal });
  const made = { preview: null, region: null, mask: null, asked: { uri: query.get("uri") ?? "" } };
  const header = h("div");
  const body = h("div");
  fill(main, heading(t("wizard.title")), header, body);
  signal.addEventListener("abort", () => drop(made));

  function source() {
    drop(made);
    fill(header, stepsHeader("source"));
    sourceStep({ body, made, signal, next: region });
  }

  function region() {
    fill(header, stepsHeader("region"));
    regionStep({ body, made, signal, back: source, next: states, label: t("next") });
  }

  function states() {
    fill(header, stepsHeader("states"));
    statesStep({ body, made, watches, back: region, next: (name) => go(`${path("edit", name, "teach")}?new=1`) });
  }

  source();
}

function drop(made) {
  if (made.preview) remove(path("api/preview", made.preview.id)).catch(() => {}); // it ends by itself too
  made.preview = null;
}

// Step 1: a pasted address, a camera that was found, or one that is configured.
function sourceStep({ body, made, signal, next }) {
  const problem = h("div");
  const input = h("input", {
    id: "uri",
    type: "text",
    value: made.asked.uri ?? "",
    inputmode: "url",
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    placeholder: "rtsp://user:password@address/path",
    onpaste: () => setTimeout(() => look(submit, typed())),
  });
  const submit = h("button", { class: "primary" }, t("source.look"));
  const form = h("form", { class: "source-form", onsubmit: (event) => {
    event.preventDefault();
    look(submit, typed());
  } }, field(t("source.address"), input, t("source.hint")), h("p", { class: "actions" }, submit));
  const known = h("div");
  const found = h("div", {}, progress(null, t("source.searching")));
  let looking = null;

  // The address in the field; the one that was looked at keeps the login that was given for it.
  function typed() {
    const uri = input.value.trim();
    return uri === made.asked.uri ? made.asked : { uri };
  }

  // Open a camera; `asked` is {source} or {uri, user, password}. Only the one asked for last counts.
  async function look(element, asked) {
    if (!asked.source && !asked.uri) return input.focus();
    looking?.abort();
    looking = new AbortController();
    fill(problem, progress(null, t("source.opening")));
    element.disabled = true;
    try {
      const preview = await post("api/preview", asked, { signal: AbortSignal.any([signal, looking.signal]) });
      Object.assign(made, { preview, asked, region: null, mask: null });
      next();
    } catch (error) {
      if (error.name === "AbortError") return;
      fill(problem, banner("error", h("strong", {}, t("source.failed")), " ", error.message));
      input.focus();
    } finally {
      element.disabled = false;
    }
  }

  const choice = (label, beside, request) => {
    const element = button([h("strong", {}, label), h("small", {}, beside)], () => look(element, request), { class: "camera" });
    return element;
  };
  fill(body, form, problem, known, h("section", {}, h("h2", {}, t("source.found")), found));
  input.focus();
  showKnown(known, choice, signal);
  showFound(found, choice, signal);
}

async function showKnown(element, choice, signal) {
  try {
    const { sources = [] } = await get("api/device", { signal });
    if (!sources.length) return;
    const rows = sources.map((source) => choice(source.name, source.up ? source.uri ?? "" : source.error ?? "", { source: source.name }));
    fill(element, h("section", {}, h("h2", {}, t("source.known")), h("div", { class: "cameras" }, rows)));
  } catch (error) {
    toastError(error);
  }
}

async function showFound(element, choice, signal) {
  try {
    const { v4l2 = [], onvif = [] } = await get("api/cameras", { signal });
    const usb = v4l2.map((camera) => choice(camera.name || camera.uri, camera.uri, { uri: camera.uri }));
    const network = onvif.map((camera) => networkCamera(camera, choice));
    fill(element, usb.length + network.length ? h("div", { class: "cameras" }, usb, network) : h("p", { class: "muted" }, t("source.nothing")));
  } catch (error) {
    if (error.name !== "AbortError") fill(element, h("p", { class: "muted" }, error.message));
  }
}

// A camera that answered in the network; one that tells its address to users only asks for one.
function networkCamera(camera, choice) {
  const label = camera.name || camera.address;
  if (camera.uri) return choice(label, camera.address, { uri: camera.uri });
  const user = h("input", { autocomplete: "off", autocapitalize: "none" });
  const password = h("input", { type: "password", autocomplete: "off" });
  const submit = h("button", { class: "small" }, t("source.ask"));
  const problem = h("small", {}, camera.error || t("source.nouri"));
  const form = h("form", { class: "camera-login", onsubmit: async (event) => {
    event.preventDefault();
    const { address, service } = camera;
    const found = await busy(submit, () => post("api/cameras", { address, service, user: user.value, password: password.value }));
    if (found?.uri) form.replaceWith(choice(label, found.address, { uri: found.uri, user: user.value, password: password.value }));
    else if (found) problem.textContent = found.error || t("source.nouri");
  } }, h("strong", {}, label), problem, h("details", {}, h("summary", {}, t("source.login")), field(t("login.user"), user), field(t("login.password"), password), submit));
  return form;
}

// Step 2: the region on the picture, and beside it exactly the picture that the model is given.
function regionStep({ body, made, signal, back, next, label, maskUrl = null }) {
  const done = new AbortController();
  const stop = AbortSignal.any([signal, done.signal]);
  const model = h("img", { alt: t("region.model.alt"), class: "model-picture" });
  const problem = h("div");
  const showModel = throttle(FRAME_EVERY_MS, async () => {
    const { region, mask } = editor.value();
    try {
      const body_ = mask ? { region, mask_png: mask } : { region };
      const blob = await post(path("api/preview", made.preview.id, "model"), body_, { signal: stop });
      showBlob(model, blob);
      fill(problem);
    } catch (error) {
      if (error.name !== "AbortError") fill(problem, banner("warn", error.message));
    }
  });
  const { width, height, light } = made.preview;
  const editor = regionEditor({ region: made.region, maskUrl, ratio: width && height ? width / height : null, changed: () => {
    Object.assign(made, editor.value());
    showModel();
  } });
  if (!made.region && made.mask === null) editor.image.addEventListener("load", showModel, { once: true });
  const leave = (action) => async (event) => {
    Object.assign(made, editor.value());
    if ((await action(event.currentTarget)) !== false) done.abort();
  };
  const size = [width && height ? `${width} × ${height}` : null, light ? t(`light.${light}`) : null].filter(Boolean).join(", ");
  fill(
    body,
    h("p", {}, t("region.how")),
    h(
      "div",
      { class: "region-step" },
      editor.element,
      h(
        "div",
        { class: "model-side" },
        h("h2", {}, t("region.model")),
        h("div", { class: "model-frame" }, model),
        h("p", { class: "muted" }, t("region.model.text")),
        size ? h("p", { class: "muted" }, size) : null,
        problem,
        h("p", { class: "actions" }, button(t("back"), leave(back)), button(label, leave(next), { class: "primary" })),
      ),
    ),
  );
  // The device closes a preview that is not asked for pictures, as while the tab is hidden or states
  // are named: it is opened again.
  let closed = false;
  const address = async () => {
    if (closed) made.preview = await post("api/preview", made.asked, { signal: stop });
    return withQuery(path("api/preview", made.preview.id, "frame.jpg"), { w: FRAME_PX });
  };
  const shown = () => {
    closed = false;
    showModel();
  };
  followPicture(editor.image, address, FRAME_EVERY_MS, stop, shown, (error) => {
    const first = !closed;
    closed = error.status === 422;
    if (closed && first) return 0;
    fill(problem, banner("warn", error.message));
    return LOST_MS;
  });
}

// Step 3: names of the states and of the watch.
function statesStep({ body, made, watches, back, next }) {
  const taken = watches.map((watch) => watch.name);
  const name = h("input", { id: "watch-name", value: freeName(made.asked.source ?? "watch", taken), autocomplete: "off" });
  const list = h("div", { class: "state-list" });
  const problem = h("div");
  const create = h("button", { class: "primary" }, t("states.create"));

  function row(value) {
    const input = h("input", { value, "aria-label": t("states.name"), autocomplete: "off", autocapitalize: "none" });
    const item = h("div", { class: "state-row" }, input, button("×", () => item.remove(), { "aria-label": t("states.remove") }));
    return item;
  }

  const suggestions = t("states.pairs").split(",").map((pair) => pair.trim().split(" "));
  const chips = suggestions.map((states) =>
    button(states.length > 1 ? states.join(" / ") : t("states.single", { state: states[0] }), () => {
      fill(list, states.map(row));
      create.focus();
    }, { class: "small" }));
  const form = h(
    "form",
    {
      class: "states-form",
      onsubmit: async (event) => {
        event.preventDefault();
        fill(problem);
        const states = [...list.querySelectorAll("input")].map((input) => plainName(input.value)).filter(Boolean);
        const answer = await attempt(problem, create, () => post("api/watches", request(plainName(name.value), made, [...new Set(states)])));
        if (answer) next(answer.watch);
      },
    },
    h("p", {}, t("states.how")),
    h("div", { class: "actions", role: "group", "aria-label": t("states.suggestions") }, chips),
    list,
    button(t("states.add"), () => {
      const item = row("");
      list.append(item);
      item.querySelector("input").focus();
    }, { class: "small" }),
    field(t("states.watch"), name, t("states.watch.hint")),
    problem,
    h("p", { class: "actions" }, button(t("back"), back), create),
  );
  fill(list, row(""), row(""));
  fill(body, form);
  chips[0].focus();
}

async function attempt(problem, element, action) {
  element.disabled = true;
  try {
    return await action();
  } catch (error) {
    fill(problem, banner("error", error.message));
    return null;
  } finally {
    element.disabled = false;
  }
}

function request(name, made, states) {
  const source = made.asked.source ? { name: made.asked.source } : made.asked;
  const body = { name, source, region: made.region ?? [0, 0, 1, 1], states };
  return made.mask ? { ...body, mask_png: made.mask } : body;
}

// A name as the device takes it: letters, digits, _ and -; others are replaced by what comes nearest.
function plainName(text) {
  const pairs = { ä: "ae", ö: "oe", ü: "ue", ß: "ss" };
  return text
    .trim()
    .replace(/[äöüß]/gi, (letter) => pairs[letter.toLowerCase()])
    .normalize("NFKD")
    .replace(/[\u0300-\u036f]/g, "")
    .replace(/[^A-Za-z0-9_-]+/g, "_")
    .replace(/^_+|_+$/g, "");
}

function freeName(wanted, taken) {
  const start = plainName(wanted) || "watch";
  if (!taken.includes(start) && start !== "watch") return start;
  let number = 1;
  while (taken.includes(`${start}-${number}`)) number += 1;
  return `${start}-${number}`;
}

// An existing watch: `edit/NAME/region`, `edit/NAME/teach`, `edit/NAME/ready`.
export async function editPage(context) {
  const { main, parts, query, signal, go } = context;
  const [name, step] = parts;
  const watches = await get("api/watches", { signal });
  const watch = watches.find((candidate) => candidate.name === name);
  if (!watch) return fill(main, banner("warn", t("watch.none", { watch: name })));
  const fresh = query.has("new");
  const address = (to) => `#/${path("edit", name, to)}${fresh ? "?new=1" : ""}`;
  const links = { teach: address("teach"), ready: address("ready") };
  if (may("admin")) links.region = address("region");
  const header = fresh ? stepsHeader(step, links) : tabs(step, links);
  const body = h("div");
  fill(main, heading(name, h("a", { class: "button small", href: `#/${path("watch", name)}` }, t("edit.show"))), header, body);
  if (step === "region" && may("admin")) await editRegion({ body, watch, signal, go });
  else if (step === "ready") await readyStep({ body, watch, signal, links });
  else await teachStep({ body, watch, signal, links });
}

function tabs(current, links) {
  const items = Object.entries(links).map(([step, address]) =>
    h("a", { href: address, "aria-current": step === current ? "page" : null }, t(`wizard.step.${step}`)));
  return h("nav", { class: "tabs", "aria-label": t("edit.tabs") }, items);
}

async function editRegion({ body, watch, signal, go }) {
  fill(body, progress(null, t("source.opening")));
  const made = { preview: null, region: watch.region, mask: null, asked: { source: watch.source } };
  signal.addEventListener("abort", () => drop(made));
  made.preview = await post("api/preview", made.asked, { signal });
  const maskUrl = watch.has_mask ? path("api/watches", watch.name, "mask.png") : null;
  const save = async (element) => {
    const change = { region: made.region };
    if (made.mask || watch.has_mask) change.mask_png = made.mask ?? "";
    const answer = await busy(element, async () => (await patch(path("api/watches", watch.name), change)) ?? {});
    if (!answer) return false;
    toast(t("edit.region.saved"));
    go(path("edit", watch.name, "teach"));
  };
  regionStep({ body, made, signal, maskUrl, back: () => go(path("watch", watch.name)), next: save, label: t("save") });
  body.prepend(banner("warn", t("edit.region.warning")));
}

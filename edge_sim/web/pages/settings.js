// Configuration, checks, receivers of events, storage, log, and everything as one archive.

import { get, may, path, post, put } from "./api.js";
import { banner, busy, button, facts, field, heading, toast, toastError } from "./components.js";
import { fill, h } from "./dom.js";
import { configForm } from "./form.js";
import { formatDuration, formatNumber, t } from "./i18n.js";

export async function settingsPage({ main, signal }) {
  const device = await get("api/device", { signal });
  const parts = [healthPart(device)];
  if (may("admin")) parts.push(checkPart(), await configPart(signal), sinkPart(), logPart(signal), archivePart());
  fill(main, heading(t("settings.title")), parts);
}

function healthPart(device) {
  const { storage, process, outbox, model } = device;
  const free = storage.total_bytes ? `${megabytes(storage.free_bytes)} / ${megabytes(storage.total_bytes)}` : "–";
  const sources = device.sources.map((source) => h("tr", {}, h("th", { scope: "row" }, source.name), h("td", {}, source.uri ?? "–"), h("td", {}, source.up ? t("settings.up") : source.error ?? t("health.noframe")), h("td", {}, formatNumber(source.frames, 0))));
  return h(
    "section",
    {},
    h("h2", {}, t("settings.device")),
    facts([[t("settings.version"), device.version], [t("settings.model"), model.id ?? "–"], [t("settings.uptime"), formatDuration(device.uptime_s)], [t("settings.memory"), `${formatNumber(process.rss_mb, 0)} MB`], [t("settings.free"), free], [t("settings.waiting"), String(outbox.waiting)]]),
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": t("settings.cameras") }, h("table", {}, h("thead", {}, h("tr", {}, ["camera", "address", "condition", "frames"].map((name) => h("th", { scope: "col" }, t(`settings.${name}`))))), h("tbody", {}, sources))),
  );
}

const megabytes = (bytes) => `${formatNumber(bytes / 1e6, 0)} MB`;

function checkPart() {
  const place = h("div", { "aria-live": "polite" });
  const run = button(t("settings.check"), () => busy(run, async () => {
    const { problems = [], lines = [] } = await post("api/check");
    const rows = [...problems.map((text) => h("li", { class: "note warn" }, text)), ...lines.map((text) => h("li", {}, text))];
    fill(place, rows.length ? h("ul", {}, rows) : banner("good", t("settings.ok")));
  }));
  return h("section", {}, h("h2", {}, t("settings.checks")), run, place);
}

// The configuration as text, with the description of the key that the cursor is on.
async function configPart(signal) {
  let config;
  try {
    config = await get("api/config", { signal });
  } catch (error) {
    return h("section", {}, h("h2", {}, t("settings.config")), banner("warn", error.message));
  }
  const schema = await get("api/schema", { signal });
  const help = h("p", { class: "muted", "aria-live": "polite" });
  const problems = h("div");
  const text = h("textarea", { rows: "22", spellcheck: "false", autocomplete: "off", value: config.text });
  const describe = () => fill(help, describedKey(schema, keyAt(text.value, text.selectionStart)));
  for (const kind of ["keyup", "click"]) text.addEventListener(kind, describe);
  const save = button(t("settings.save"), () => busy(save, async () => {
    fill(problems);
    try {
      const sent = text.value;
      const answer = await put("api/config", { text: sent, version });
      version = answer?.version;
      known = sent;
      toast(t(answer?.restarts ? "form.restarts" : "settings.saved"));
    } catch (error) {
      const lines = error.detail?.errors ?? [{ text: error.message }];
      fill(problems, banner("error", h("ul", {}, lines.map(({ line, text: words }) => h("li", {}, line ? h("a", { href: `#line-${line}`, onclick: (event) => {
        event.preventDefault();
        selectLine(text, line);
      } }, t("settings.line", { line })) : null, line ? ": " : null, words)))));
    }
  }), { class: "primary" });
  let known = text.value;
  let version = config.version;
  // What was typed and is not saved stays, with the version that it was made from: saving it says so.
  const reread = async () => {
    if (text.value !== known) return;
    const now = await get("api/config", { signal });
    if (text.value !== known) return;
    text.value = now.text;
    known = text.value;
    version = now.version;
  };
  const form = h("section", { class: "config-form" }, h("h2", {}, t("form.title")), configForm(schema, config.values ?? {}, reread));
  return [form, h("section", {}, h("h2", {}, t("settings.config")), field(config.path ?? t("settings.config"), text, t("settings.config.hint")), help, problems, save)];
}

function selectLine(area, number) {
  const lines = area.value.split("\n");
  const start = lines.slice(0, number - 1).reduce((sum, line) => sum + line.length + 1, 0);
  area.focus();
  area.setSelectionRange(start, start + (lines[number - 1] ?? "").length);
}

// Keys from the outermost to the one on the line of the cursor.
function keyAt(text, cursor) {
  const lines = text.slice(0, cursor).split("\n");
  lines[lines.length - 1] = text.split("\n")[lines.length - 1];
  const keys = [];
  let indent = Infinity;
  for (const line of lines.reverse()) {
    const found = /^(\s*(?:- )?)([\w.-]+):/.exec(line);
    if (!found || found[1].length >= indent) continue;
    indent = found[1].length;
    keys.unshift(found[2]);
    if (!indent) break;
  }
  return keys;
}

function describedKey(schema, keys) {
  let node = schema;
  for (const key of keys) {
    node = resolved(schema, node);
    const items = node.items ? resolved(schema, node.items) : node;
    const next = items.properties?.[key] ?? items.additionalProperties ?? (items.anyOf ?? []).map((one) => resolved(schema, one).properties?.[key]).find(Boolean);
    if (!next || next === true) return "";
    node = next;
  }
  const found = { ...resolved(schema, node), ...node };
  const standard = "default" in found ? t("settings.default", { value: JSON.stringify(found.default) }) : null;
  return keys.length && found.description ? [h("b", {}, keys.join(".")), ": ", found.description, standard ? ` ${standard}` : ""] : "";
}

function resolved(schema, node) {
  const name = node.$ref ?? node.anyOf?.map(({ $ref }) => $ref).find(Boolean);
  return name ? name.replace(/^#\//, "").split("/").reduce((at, part) => at?.[part], schema) ?? node : node;
}

function sinkPart() {
  const place = h("div", {});
  get("api/sinks").then((sinks) => fill(place, sinks.length ? h("table", {}, h("tbody", {}, sinks.map((sink) => {
    const result = h("td", { "aria-live": "polite" });
    const test = button(t("settings.test"), () => busy(test, async () => fill(result, (await post(path("api/sinks", sink.name, "test"))).text)), { class: "small" });
    return h("tr", {}, h("th", { scope: "row" }, sink.name), h("td", {}, sink.kind), h("td", {}, test), result);
  }))) : h("p", { class: "muted" }, t("settings.nosinks"))), (error) => fill(place, banner("warn", error.message)));
  return h("section", {}, h("h2", {}, t("settings.sinks")), place);
}

function logPart(signal) {
  const lines = h("pre", { class: "log", tabindex: "0", role: "log", "aria-label": t("settings.log") });
  const load = () => get("api/log?lines=300", { signal }).then((log) => {
    fill(lines, (log.lines ?? log).map((line) => (typeof line === "string" ? line : `${line.at ?? ""} ${line.level ?? ""} ${line.text ?? ""}`)).join("\n"));
    lines.scrollTop = lines.scrollHeight;
  }, toastError);
  const again = button(t("again.load"), load, { class: "small" });
  const details = h("details", { ontoggle: () => details.open && load() }, h("summary", {}, t("settings.log")), again, lines);
  return h("section", {}, details);
}

function archivePart() {
  const file = h("input", { type: "file", accept: ".zip" });
  const place = h("div");
  const take = button(t("settings.import"), () => busy(take, async () => {
    if (!file.files[0]) return;
    const form = new FormData();
    form.append("file", file.files[0]);
    await post("api/import", form);
    fill(place, banner("good", t("settings.imported")));
  }));
  return h("section", {}, h("h2", {}, t("settings.archive")), h("p", {}, h("a", { class: "button", href: "api/export", download: "edge_sim.zip" }, t("settings.export"))), field(t("settings.import.file"), file, t("settings.import.hint")), take, place);
}

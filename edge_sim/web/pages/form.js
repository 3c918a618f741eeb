// The configuration as a form, made from its schema: each key with its description, unit and default,
// written at once. Lists of sections (sinks) and tables (rules) are edited in the text.

import { patch } from "./api.js";
import { field, toast, toastError } from "./components.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";

const SECRET = "***";

// `changed(answer)` is called after every change that the device has taken over.
export function configForm(schema, values, changed) {
  return sectionFields({ schema, changed }, refer(schema, schema), values, []);
}

// A node of the schema with what it refers to; of a choice with null, the other one.
function refer(schema, node) {
  const other = node.anyOf?.find((one) => one.type !== "null") ?? node;
  const target = other.$ref?.replace(/^#\//, "").split("/").reduce((at, part) => at?.[part], schema);
  return { ...other, ...target, ...node, nullable: Boolean(node.anyOf?.some((one) => one.type === "null")) };
}

function sectionFields(form, node, values, keys) {
  return Object.entries(node.properties ?? {}).map(([name, raw]) => {
    const inner = refer(form.schema, raw);
    const at = [...keys, name];
    const value = values?.[name];
    if (inner.properties) return group(name, inner.description, () => sectionFields(form, inner, value, at));
    const entry = inner.additionalProperties && refer(form.schema, inner.additionalProperties);
    if (entry?.properties) {
      return Object.entries(value ?? {}).map(([own, content]) => group(`${name}.${own}`, inner.description, () => sectionFields(form, entry, content, [...at, own])));
    }
    return control(form, inner, value, at);
  });
}

// What is inside is made when it is opened: there are more than a hundred keys.
function group(name, description, make) {
  const element = h("details", { class: "group", ontoggle: () => {
    if (element.open && element.children.length === 1) element.append(h("p", { class: "muted" }, description ?? ""), ...[make()].flat(Infinity).filter(Boolean));
  } }, h("summary", {}, `${name}:`));
  return element;
}

function control(form, node, value, keys) {
  const kind = kindOf(node);
  if (!kind) return null;
  const path = keys.join(".");
  const input = kind.make(node, value);
  const fault = h("small", { class: "fault", role: "alert" });
  let before = kind.read(input, node);
  input.addEventListener("change", async () => {
    const wanted = kind.read(input, node);
    if (input.value === SECRET || JSON.stringify(wanted) === JSON.stringify(before)) return;
    fault.textContent = "";
    input.disabled = true;
    try {
      const answer = await patch("api/config", { path, value: wanted });
      before = wanted;
      toast(t(answer?.restarts ? "form.restarts" : "settings.saved"));
      form.changed(answer).catch(toastError);
    } catch (error) {
      fault.textContent = error.detail?.errors?.[0]?.text ?? error.message;
    } finally {
      input.disabled = false;
    }
  });
  const unit = node.unit ? ` (${node.unit})` : "";
  const standard = "default" in node ? ` ${t("settings.default", { value: JSON.stringify(node.default) })}` : "";
  const element = field(keys.at(-1) + unit, input, `${node.description ?? ""}${standard}`);
  element.append(fault);
  return element;
}

const text = (value) => (value === null || value === undefined ? "" : String(value));
const or = (node, value) => (value === "" && node.nullable ? null : value);
const KINDS = {
  choice: { make: (node, value) => h("select", {}, node.enum.map((one) => h("option", { value: String(one), selected: one === value }, String(one)))), read: (input, node) => node.enum.find((one) => String(one) === input.value) },
  boolean: { make: (_, value) => h("input", { type: "checkbox", checked: Boolean(value) }), read: (input) => input.checked },
  number: { make: (node, value) => h("input", { type: "text", inputmode: "decimal", value: text(value) }), read: (input, node) => (input.value.trim() === "" ? or(node, "") : Number.isNaN(Number(input.value)) ? input.value : Number(input.value)) },
  string: { make: (_, value) => h("input", { type: "text", spellcheck: "false", autocomplete: "off", value: text(value) }), read: (input, node) => or(node, input.value.trim()) },
  list: { make: (_, value) => h("input", { type: "text", spellcheck: "false", value: (value ?? []).join(", ") }), read: (input) => input.value.split(",").map((one) => one.trim()).filter(Boolean) },
};

function kindOf(node) {
  if (node.enum) return KINDS.choice;
  if (node.type === "integer") return KINDS.number;
  if (node.type === "array") return node.items && (node.items.type === "string" || node.items.$ref) && !node.prefixItems && !node.items.anyOf ? KINDS.list : null;
  return KINDS[node.type];
}

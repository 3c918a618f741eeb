// DOM nodes without markup: text from a device, a file name or a camera never becomes HTML.

const URL_ATTRIBUTES = new Set(["href", "src", "action", "formaction", "poster"]);
const SAFE_URL = /^(?:https?:|blob:|data:image\/(?:jpeg|png|webp);|[^:]*(?:[/?#]|$))/i;
const SVG_TAGS = new Set(["svg", "g", "path", "rect", "circle", "line", "polyline", "polygon", "text", "title"]);
const SVG = "http://www.w3.org/2000/svg";

// Create an element. Attributes: `on*` functions become listeners, `class`, `style` (an object) and
// `data` (an object) are set as such, null and false are left out, properties that an element has
// as boolean or value (`checked`, `value`, ...) are set as properties, the rest as attributes.
// Children: nodes, arrays, and anything else as text; null, undefined and false are left out.
export function h(tag, attributes, ...children) {
  const svg = SVG_TAGS.has(tag) && !(tag === "title" && !attributes?.svg);
  const element = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) set(element, name, value);
  append(element, children);
  return element;
}

function set(element, name, value) {
  if (value === null || value === undefined || value === false || name === "svg") return;
  if (name.startsWith("on")) {
    if (typeof value !== "function") throw new TypeError(`${name}: not a function`);
    element.addEventListener(name.slice(2), value);
  } else if (name === "style") {
    for (const [key, setting] of Object.entries(value)) element.style.setProperty(key, setting);
  } else if (name === "data") {
    Object.assign(element.dataset, value);
  } else if (name === "value" || name === "checked" || name === "disabled" || name === "hidden") {
    element[name] = value;
  } else if (name === "innerHTML" || name === "outerHTML" || name === "srcdoc") {
    throw new TypeError(`${name}: markup is not made from text`);
  } else {
    if (URL_ATTRIBUTES.has(name) && !SAFE_URL.test(String(value))) value = "#";
    element.setAttribute(name, value === true ? "" : String(value));
  }
}

export function append(element, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

// Replace everything in an element.
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

// Replace an element's children only where `signature` differs from the last call: an element under
// the pointer or with the focus stays the same while nothing changed.
export function fillWhenChanged(element, signature, make) {
  const text = JSON.stringify(signature);
  if (element.shownSignature === text) return;
  element.shownSignature = text;
  fill(element, make());
}

// Run `action` at most once per `interval` milliseconds, the last call always.
export function throttle(interval, action) {
  let timer = null;
  let last = -Infinity;
  const run = (...values) => {
    const wait = last + interval - performance.now();
    clearTimeout(timer);
    if (wait > 0) timer = setTimeout(run, wait, ...values);
    else {
      last = performance.now();
      action(...values);
    }
  };
  run.cancel = () => clearTimeout(timer);
  return run;
}

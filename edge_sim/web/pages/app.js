// Frame of all pages: session, navigation, and the page that the address after # names.
//
// A new page is a module with one function `(context) => void or promise`, and a row in ROUTES. The
// context: `main` (empty element to fill), `parts` (pieces of the address behind the route), `query`
// (URLSearchParams), `signal` (aborted when the page is left: pass it to `subscribe`, requests and
// listeners), `go(address)`. Modules export and import by name only, and no two use one top-level
// name, so that a self-contained report can join them in one script.

import { loadSession, may, post, session, subscribe } from "./api.js";
import { banner, button, toastError } from "./components.js";
import { fill, h } from "./dom.js";
import { LANGUAGES, chooseLanguage, language, t } from "./i18n.js";

// Address, text in the navigation (null: not there), role needed, the field of the session that must be
// set for it to be in the navigation, and the module's page.
const ROUTES = [
  { path: "live", label: "nav.live", role: "viewer", load: async () => (await import("./live.js")).livePage },
  { path: "watch", label: null, role: "viewer", load: async () => (await import("./watch.js")).watchPage },
  { path: "new", label: null, role: "admin", load: async () => (await import("./wizard.js")).wizardPage },
  { path: "edit", label: null, role: "operator", load: async () => (await import("./wizard.js")).editPage },
  { path: "time", label: "nav.time", role: "viewer", load: async () => (await import("./time.js")).timePage },
  { path: "review", label: "nav.review", role: "operator", load: async () => (await import("./review.js")).reviewPage },
  { path: "gallery", label: "nav.gallery", role: "viewer", load: async () => (await import("./gallery.js")).galleryPage },
  { path: "collection", label: "nav.collection", role: "viewer", needs: "collection", load: async () => (await import("./collection.js")).collectionPage },
  { path: "settings", label: "nav.settings", role: "viewer", load: async () => (await import("./settings.js")).settingsPage },
];

const main = h("main", { id: "main", tabindex: "-1" });
const alerts = h("div", { class: "alerts" });
let leaving = new AbortController();
let first = true;

// Open an address; `instead` leaves no way back to the present one, which only leads there.
function go(address, { instead = false } = {}) {
  if (location.hash === `#/${address}`) show();
  else if (instead) location.replace(`#/${address}`);
  else location.hash = `#/${address}`;
}

// Pieces of the address: `#/watch/bowl?at=3` is ["watch", "bowl"] and its query.
function parseAddress() {
  const [way, query] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const parts = way.split("/").filter(Boolean).map(decoded);
  return { name: parts[0] ?? "live", parts: parts.slice(1), query: new URLSearchParams(query ?? "") };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

async function show() {
  leaving.abort();
  for (const open of document.querySelectorAll("dialog[open]")) {
    open.close();
    open.remove();
  }
  leaving = new AbortController();
  const { signal } = leaving;
  if (session.needs_login && !session.user) {
    const { loginPage } = await import("./login.js");
    fill(document.querySelector("#app"), main);
    fill(main);
    return loginPage({ main, done: start });
  }
  const { name, parts, query } = parseAddress();
  const route = ROUTES.find((row) => row.path === name);
  markCurrent(name);
  // A page draws into its own element: what it does after it was left is seen by nobody.
  const content = h("div", { class: `page page-${route ? name : "none"}` });
  if (!route) return fill(main, banner("warn", t("error.nopage")));
  if (!may(route.role)) return fill(main, banner("warn", t("error.role", { role: t(`role.${route.role}`) })));
  try {
    const page = await route.load();
    if (signal.aborted) return;
    fill(main, content);
    await page({ main: content, parts, query, signal, go });
  } catch (error) {
    if (signal.aborted) return;
    fill(main, banner("error", error.message));
    if (!(error.status >= 0)) throw error; // a fault of ours stays visible in the console
  }
  if (signal.aborted) return;
  const title = content.querySelector("h1");
  document.title = title ? `${title.textContent} · edge_sim` : "edge_sim";
  if (!first) (title ?? main).focus({ preventScroll: true });
  if (!first) scrollTo(0, 0);
  first = false;
}

function markCurrent(name) {
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.name === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  closeMenu();
}

function closeMenu() {
  document.querySelector("#nav")?.classList.remove("open");
  document.querySelector(".menu")?.setAttribute("aria-expanded", "false");
}

function navigation() {
  const rows = ROUTES.filter((route) => route.label && may(route.role) && (!route.needs || session[route.needs]));
  const links = rows.map((route) => h("a", { href: `#/${route.path}`, data: { name: route.path } }, t(route.label)));
  const list = h("nav", { id: "nav", "aria-label": t("nav.label") }, links, may("admin") ? h("a", { href: "#/new", class: "add", data: { name: "new" } }, t("nav.new")) : null);
  const menu = button(t("nav.menu"), () => {
    const open = list.classList.toggle("open");
    menu.setAttribute("aria-expanded", String(open));
  }, { class: "menu", "aria-expanded": "false", "aria-controls": "nav" });
  return h(
    "header",
    { class: "top" },
    h("a", { href: "#/live", class: "brand" }, h("img", { src: "pages/icon.svg", alt: "", width: "24", height: "24" }), session.device || "edge_sim"),
    menu,
    list,
    session.user ? h("span", { class: "user" }, session.user, button(t("login.out"), signOut, { class: "link" })) : null,
  );
}

function footer() {
  const choice = h(
    "select",
    { "aria-label": t("language"), onchange: () => changeLanguage(choice.value) },
    Object.entries(LANGUAGES).map(([tag, name]) => h("option", { value: tag, selected: tag === language, lang: tag }, name)),
  );
  return h("footer", {}, h("span", {}, `edge_sim ${session.version}`), choice);
}

function changeLanguage(tag) {
  try {
    localStorage.setItem("language", tag);
  } catch {
    // Without storage the choice lasts until the page is loaded again.
  }
  chooseLanguage(tag);
  frame();
  show();
}

async function signOut() {
  try {
    await post("api/logout");
  } catch (error) {
    toastError(error);
  }
  await start();
}

function frame() {
  const skip = h("a", { href: "#main", class: "skip", onclick: (event) => {
    event.preventDefault();
    main.focus();
  } }, t("nav.skip"));
  fill(document.querySelector("#app"), skip, navigation(), alerts, main, footer());
}

// Connection and health, above every page.
function follow() {
  const shown = { connection: null, device: null };
  const draw = () => fill(alerts, shown.connection, shown.device);
  subscribe("status", (status) => {
    shown.connection = status === "lost" ? banner("warn", t("error.lost")) : null;
    draw();
  });
  subscribe("device", (device) => {
    const texts = deviceProblems(device);
    shown.device = texts.length ? banner("error", h("ul", {}, texts.map((text) => h("li", {}, text)))) : null;
    draw();
  });
}

function deviceProblems(device) {
  const faults = device.health?.faults ?? [];
  const texts = faults.length ? [...faults] : (device.sources ?? [])
    .filter((source) => source.up === false)
    .map((source) => t("health.source", { name: source.name, error: source.error ?? t("health.noframe") }));
  for (const name of Object.keys(device.outbox?.failing ?? {})) {
    texts.push(t("health.outbox", { name, waiting: device.outbox.waiting ?? 0 }));
  }
  return texts;
}

let following = false;

async function start() {
  try {
    await loadSession();
  } catch (error) {
    fill(document.querySelector("#app"), banner("error", error.message), button(t("again"), start));
    return;
  }
  frame();
  if (!following && !(session.needs_login && !session.user)) {
    following = true;
    follow();
  }
  await show();
}

function storedLanguage() {
  try {
    return localStorage.getItem("language");
  } catch {
    return null;
  }
}

addEventListener("hashchange", show);
document.addEventListener("signed-out", () => {
  if (!session.user) return;
  session.user = null;
  start();
});
chooseLanguage(storedLanguage());
await start();

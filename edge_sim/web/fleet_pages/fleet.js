// Frame of the page over all devices: session, navigation, and the page that the address names. It is
// made of the modules of a device's page, served from ../pages.

import { loadSession, post, session } from "../pages/api.js";
import { banner, button, toastError } from "../pages/components.js";
import { fill, h } from "../pages/dom.js";
import { LANGUAGES, chooseLanguage, language, t } from "../pages/i18n.js";
import { say } from "./texts.js";

const ROUTES = [
  { path: "devices", label: "devices", load: async () => (await import("./devices.js")).devicesPage },
  { path: "device", label: null, load: async () => (await import("./device.js")).devicePage },
  { path: "search", label: "search", load: async () => (await import("./search.js")).searchPage },
];

const main = h("main", { id: "main", tabindex: "-1" });
let leaving = new AbortController();

function go(address) {
  if (location.hash === `#/${address}`) show();
  else location.hash = `#/${address}`;
}

function parseAddress() {
  const [way, query] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const parts = way.split("/").filter(Boolean).map(decoded);
  return { name: parts[0] ?? "devices", parts: parts.slice(1), query: new URLSearchParams(query ?? "") };
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
  leaving = new AbortController();
  const { signal } = leaving;
  if (session.needs_login && !session.user) {
    const { loginPage } = await import("../pages/login.js");
    fill(document.querySelector("#app"), main);
    return loginPage({ main, done: start });
  }
  const { name, parts, query } = parseAddress();
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.name === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.querySelector("#nav")?.classList.remove("open");
  document.querySelector(".menu")?.setAttribute("aria-expanded", "false");
  const route = ROUTES.find((row) => row.path === name);
  if (!route) return fill(main, banner("warn", t("error.nopage")));
  const content = h("div", { class: "page" });
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
  const title = content.querySelector("h1");
  document.title = title ? `${title.textContent} · edge_sim` : "edge_sim";
}

function navigation() {
  const links = ROUTES.filter(({ label }) => label).map(({ path, label }) => h("a", { href: `#/${path}`, data: { name: path } }, say(label)));
  const list = h("nav", { id: "nav", "aria-label": t("nav.label") }, links);
  const menu = button(t("nav.menu"), () => menu.setAttribute("aria-expanded", String(list.classList.toggle("open"))), { class: "menu", "aria-expanded": "false", "aria-controls": "nav" });
  return h(
    "header",
    { class: "top" },
    h("a", { href: "#/devices", class: "brand" }, h("img", { src: "pages/icon.svg", alt: "", width: "24", height: "24" }), session.device || "edge_sim"),
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
  fill(document.querySelector("#app"), skip, navigation(), main, footer());
}

async function start() {
  try {
    await loadSession();
  } catch (error) {
    fill(document.querySelector("#app"), banner("error", error.message), button(t("again"), start));
    return;
  }
  frame();
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

// The device's JSON API: requests with the session's token, errors as one plain line, and one stream
// of server-sent events that rests while the tab is hidden.

import { t } from "./i18n.js";

class ApiError extends Error {
  constructor(status, message, detail) {
    super(message);
    this.status = status;
    this.detail = detail;
  }
}

export const session = { user: null, role: null, csrf: null, needs_login: false, version: "", device: "" };
const ROLES = ["viewer", "operator", "admin"];

// Whether the account may do what `role` may do.
export function may(role) {
  return ROLES.indexOf(session.role) >= ROLES.indexOf(role);
}

export async function loadSession() {
  Object.assign(session, await request("GET", "api/session"));
  if (!session.needs_login) return openStream();
  closeStream();
  setStatus("idle"); // it is not lost: nobody is signed in
}

// URL of a path whose parts come from data: `path("api/watches", name, "teach")`.
export function path(start, ...parts) {
  return [start, ...parts.map((part) => encodeURIComponent(part))].join("/");
}

export function withQuery(address, values) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return text ? `${address}?${text}` : address;
}

export const get = (address, options) => request("GET", address, undefined, options);
export const post = (address, body, options) => request("POST", address, body ?? {}, options);
export const put = (address, body) => request("PUT", address, body);
export const patch = (address, body) => request("PATCH", address, body);
export const remove = (address) => request("DELETE", address);

async function request(method, address, body, options = {}) {
  let response = await send(method, address, body, options);
  if (response.status === 403 && method !== "GET") {
    // A session that the server began anew has another token; what it refuses then, it means.
    const known = session.csrf;
    await loadSession();
    if (session.csrf !== known) response = await send(method, address, body, options);
  }
  if (!response.ok) throw await errorOf(response);
  if (response.status === 204) return null;
  const kind = response.headers.get("content-type") ?? "";
  return kind.includes("json") ? response.json() : response.blob();
}

async function send(method, address, body, { signal } = {}) {
  const headers = {};
  let payload = body;
  if (body !== undefined && !(body instanceof FormData)) {
    headers["Content-Type"] = "application/json";
    payload = JSON.stringify(body);
  }
  if (method !== "GET") headers["X-CSRF-Token"] = session.csrf ?? "";
  try {
    return await fetch(address, { method, headers, body: payload, signal, cache: "no-cache", credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, t("error.offline"));
  }
}

async function errorOf(response) {
  let detail = null;
  try {
    detail = await response.json();
  } catch {
    // A proxy's page says no more than its status.
  }
  const text = typeof detail?.error === "string" ? detail.error : t("error.status", { status: response.status });
  if (response.status === 401) document.dispatchEvent(new CustomEvent("signed-out"));
  return new ApiError(response.status, text, detail);
}

// A picture and its ETag; null where it is still the one with `etag`, a null blob where there is none yet.
export async function fetchPicture(address, etag, signal) {
  const response = await send("GET", address, undefined, { signal });
  if (!response.ok) throw await errorOf(response);
  if (response.status === 204) return { blob: null, etag: null };
  const found = response.headers.get("etag");
  if (found && found === etag) return null;
  return { blob: await response.blob(), etag: found };
}

const KINDS = ["watch", "event", "device"];
const listeners = new Map();
let source = null;
let status = "idle";
let openedBefore = false;
let latestDevice = null; // sent every ten seconds: who listens later gets it at once

// Call `handler` with every message of a kind: "watch", "event", "device", "resumed" (after a pause or
// a lost connection: what was missed must be read again) or "status" ("open", "lost", "idle").
// Ends with `signal`, or by the function that is returned.
export function subscribe(kind, handler, signal) {
  if (signal?.aborted) return () => {};
  if (!listeners.has(kind)) listeners.set(kind, new Set());
  listeners.get(kind).add(handler);
  if (kind === "device" && latestDevice) handler(latestDevice);
  openStream();
  const end = () => {
    listeners.get(kind).delete(handler);
    if (KINDS.every((name) => !listeners.get(name)?.size)) closeStream();
  };
  signal?.addEventListener("abort", end, { once: true });
  return end;
}

function tell(kind, value) {
  for (const handler of [...(listeners.get(kind) ?? [])]) handler(value);
}

function setStatus(next) {
  if (next === status) return;
  status = next;
  tell("status", next);
  if (next === "open" && openedBefore) tell("resumed", null);
  openedBefore ||= next === "open";
}

function openStream() {
  const wanted = KINDS.some((name) => listeners.get(name)?.size);
  if (source || document.hidden || !wanted || session.needs_login) return;
  source = new EventSource("api/stream");
  source.addEventListener("open", () => setStatus("open"));
  source.addEventListener("error", () => {
    setStatus("lost");
    if (source?.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    closeStream();
    setTimeout(openStream, 5000);
  });
  for (const kind of KINDS) {
    source.addEventListener(kind, (message) => {
      const value = JSON.parse(message.data);
      if (kind === "device") latestDevice = value;
      tell(kind, value);
    });
  }
}

function closeStream() {
  latestDevice = null;
  source?.close();
  source = null;
  setStatus(status === "lost" ? "lost" : "idle");
}

document.addEventListener("visibilitychange", () => (document.hidden ? closeStream() : openStream()));

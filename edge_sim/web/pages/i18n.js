// Texts in the language of the browser, or in the one that was chosen.

import { TEXTS } from "./strings.js";

export const LANGUAGES = { en: "English", de: "Deutsch" };
const TAGS = Object.keys(LANGUAGES);

export let language = TAGS[0];

export function chooseLanguage(wanted) {
  const found = [wanted, ...navigator.languages].map((tag) => String(tag ?? "").slice(0, 2).toLowerCase());
  language = found.find((tag) => tag in LANGUAGES) ?? TAGS[0];
  document.documentElement.lang = language;
}

// The text of a key; `{name}` in it is replaced from `values`. With `values.n` equal to 1 the key
// with `.one` behind it is preferred.
export function t(key, values) {
  const one = values?.n === 1 ? `${key}.one` : key;
  const text = (TEXTS[one] ?? TEXTS[key])?.[TAGS.indexOf(language)];
  if (text === undefined) return key;
  return values ? text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole)) : text;
}

// The text of a key that comes from the device: a kind without a text is shown as it is named.
export function named(prefix, name) {
  const key = `${prefix}.${name}`;
  const text = t(key);
  return text === key ? String(name ?? "").replaceAll("_", " ") : text;
}

// A sentence of the device in this language: that of its kind, or as the device wrote it.
export function worded(prefix, kind, values, text) {
  const key = `${prefix}.${kind}`;
  const words = t(key, values);
  return words === key ? text : words;
}

export function formatNumber(value, digits = 2) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  return value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function formatPercent(share, digits = 0) {
  if (share === null || share === undefined) return "–";
  return share.toLocaleString(language, { style: "percent", maximumFractionDigits: digits });
}

// Seconds in the largest one or two units.
export function formatDuration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return t("time.s", { s });
  if (s < 3600) return t("time.min", { min: Math.floor(s / 60), s: s % 60 });
  if (s < 86400) return t("time.h", { h: Math.floor(s / 3600), min: Math.floor((s % 3600) / 60) });
  return t("time.d", { d: Math.floor(s / 86400), h: Math.floor((s % 86400) / 3600) });
}

// A moment (ISO text, Unix seconds or Date), without the date when it is of today.
export function formatTime(moment) {
  if (moment === null || moment === undefined) return "–";
  const date = moment instanceof Date ? moment : new Date(typeof moment === "number" ? moment * 1000 : moment);
  if (Number.isNaN(date.getTime())) return "–";
  const time = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
  const today = date.toDateString() === new Date().toDateString();
  const day = today ? {} : { year: "numeric", month: "short", day: "numeric" };
  return date.toLocaleString(language, { ...day, ...time });
}

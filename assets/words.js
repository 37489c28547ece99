// The words of the page, in the reader's language.
//
// TEXTS stands before this: every text by language and name (assets/texts/*.json). A text that counts
// has the forms `one` and `other`. Nothing here makes markup: words go into the page as text.

const PICKED = "ooc-desk:language";
const LANGUAGE = pickLanguage();
const LOCALE = (navigator.languages || []).find((one) => one.split("-")[0] === LANGUAGE) || LANGUAGE;
const plural = new Intl.PluralRules(LOCALE);

function pickLanguage() {
  let picked = null;
  try {
    picked = localStorage.getItem(PICKED);
  } catch {
    picked = null; // a window without storage follows the browser
  }
  const wanted = [picked, ...(navigator.languages || [])].filter(Boolean).map((one) => one.split("-")[0]);
  return wanted.find((one) => one in TEXTS) || "en";
}

function t(name, values) {
  let text = TEXTS[LANGUAGE][name];
  if (text === undefined) return name;
  if (typeof text !== "string") text = text[plural.select(values.count)] || text.other;
  return text.replace(/\{(\w+)\}/g, (whole, key) => (values && key in values ? shownValue(values[key]) : whole));
}

const shownValue = (value) => (typeof value === "number" ? value.toLocaleString(LOCALE) : String(value));
const percent = (share, digits) => share.toLocaleString(LOCALE, { style: "percent", maximumFractionDigits: digits || 0 });

// What a handler says: { key, ...values }; a verdict among the values is a word of the vocabulary.
function spoken(says) {
  if (!says) return "";
  return t(says.key, says.verdict ? { ...says, verdict: t("verdict." + says.verdict) } : says);
}

// A date as it is claimed: one that is written as a date is set as the reader's language does, any other stays.
function claimedDate(text) {
  const found = /^(\d{4})-(\d{2})-(\d{2})(?:T.*)?$/.exec(text);
  if (!found) return text;
  const date = new Date(Date.UTC(+found[1], found[2] - 1, +found[3]));
  return Number.isNaN(date.getTime()) ? text : date.toLocaleDateString(LOCALE, { dateStyle: "long", timeZone: "UTC" });
}

function setWords(root) {
  root.lang = LANGUAGE;
  for (const node of root.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of [root, ...root.querySelectorAll("[data-t-label]")]) if (node.dataset.tLabel) node.setAttribute("aria-label", t(node.dataset.tLabel));
  for (const node of root.querySelectorAll("[data-t-placeholder]")) node.placeholder = t(node.dataset.tPlaceholder);
  for (const node of root.querySelectorAll("[data-t-alt]")) node.alt = t(node.dataset.tAlt);
  for (const node of root.querySelectorAll(".adj-tools [data-t-label]")) node.title = t(node.dataset.tLabel);
}

function listWords(words) {
  return new Intl.ListFormat(LOCALE, { type: "conjunction" }).format(words);
}

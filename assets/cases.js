// The Cases tab at work: what is looked for, what is open, the address that says both, and the keys.
//
// `server` has the handlers of ooc_app/cases.py. The page's address is the one place where what is
// looked for is kept: every change is written there first and read back by the back button, a reload
// or whoever is sent the link.

const FILTERS = ["q", "state", "verdict", "gold", "split", "source", "teacher", "says", "annotator", "picture", "since", "until", "flagged"];
const OWN = [...FILTERS, "case", "from"]; // what of the address is ours
const PATIENCE = 20000; // ms the desk may take to answer before it counts as unreachable
const TYPING = 160; // ms of rest after which what was typed is looked for
const NO_ANSWER = "The desk does not answer. Is it still running?";

let wanted = {}; // what is looked for, by name of the filter
let from = null; // the case the list begins with; null: the newest
let openId = null; // the case that is open
let shown = []; // the cases listed
let around = { older: null, newer: null }; // where the pages before and after begin
let isRefused = false; // what is looked for makes no sense, and the page says so
let offers = null; // what the filters, imports and exports may be
let turn = 0; // counts the searches, so that a late answer to an earlier one is dropped
let opening = 0; // likewise for the case
let resting = 0; // the timer of what is being typed

// ---- talking to the desk ----

class Unreachable extends Error {}

async function ask(name, payload, patience) {
  const late = new Promise((resolve) => setTimeout(resolve, patience || PATIENCE));
  const answer = await Promise.race([server[name + "_"](payload), late]).catch(() => null);
  if (!answer) throw new Unreachable();
  return answer;
}

// A day is the reader's own: from its first moment to its last, wherever the desk is.
function question() {
  const asked = { ...wanted };
  if (wanted.since) asked.since = new Date(wanted.since + "T00:00").toISOString();
  if (wanted.until) asked.until = new Date(new Date(wanted.until + "T00:00").getTime() + 86400000).toISOString();
  return asked;
}

// ---- the address ----

const linkTo = (id) => location.pathname + "?case=" + id;

function readAddress() {
  const given = new URLSearchParams(location.search);
  const number = (name) => (/^\d{1,10}$/.test(given.get(name) || "") ? Number(given.get(name)) : null);
  wanted = Object.fromEntries(FILTERS.filter((name) => given.get(name)).map((name) => [name, given.get(name)]));
  for (const name of ["since", "until"]) if (wanted[name] && isNaN(new Date(wanted[name] + "T00:00"))) delete wanted[name];
  from = number("from");
  openId = number("case");
}

function writeAddress(isNew) {
  const params = new URLSearchParams(location.search);
  for (const name of OWN) params.delete(name);
  if (!isSeen()) return putAddress(params, false); // another tab is open: the address is not ours
  if (openId !== null) params.set("case", openId);
  for (const name of FILTERS) if (wanted[name]) params.set(name, wanted[name]);
  if (from !== null) params.set("from", from);
  putAddress(params, isNew);
}

function putAddress(params, isNew) {
  const query = String(params);
  const next = location.pathname + (query ? "?" + query : "") + location.hash;
  if (next === location.pathname + location.search + location.hash) return;
  history[isNew ? "pushState" : "replaceState"](history.state, "", next);
}

// ---- looking ----

async function list(cursor, newer, kept) {
  const mine = ++turn;
  const rows = kept || [];
  try {
    const answer = await ask("list", { wanted: question(), cursor, newer: Boolean(newer), limit: 24 - rows.length });
    if (mine !== turn) return null;
    if (!answer.ok) return refuse(answer.says);
    isRefused = false;
    around = { older: answer.older, newer: answer.newer };
    shown = [...rows, ...answer.rows];
    showFound(answer, shown);
    return answer;
  } catch (problem) {
    if (!(problem instanceof Unreachable)) throw problem;
    if (mine === turn) say(NO_ANSWER, "waiting");
    return null;
  }
}

function refuse(says) {
  isRefused = true;
  shown = [];
  showFound({ older: null, newer: null }, []);
  find(".cases-count").textContent = "";
  showEmpty({ title: "This cannot be looked for", way: says, button: "Clear the search", press: clear });
  return null;
}

async function countOn() {
  const mine = turn;
  const answer = await ask("count", { wanted: question() }).catch(() => null);
  if (answer && answer.ok && mine === turn) find(".cases-count").textContent = answer.words;
}

// Look for something else; `isNew` makes it a step that the back button takes back.
async function look(next, isNew) {
  wanted = Object.fromEntries(Object.entries(next).filter(([, value]) => value));
  from = null;
  writeAddress(isNew);
  showChips();
  const isListed = await list(null);
  find(".cases-left").scrollTop = 0;
  if (isListed) countOn();
}

const change = (name, value) => look({ ...wanted, [name]: value }, name !== "q");
const clear = () => look({}, true);

function searchTyped() {
  clearTimeout(resting);
  const typed = controls.elements.q.value.trim();
  if (typed !== (wanted.q || "")) change("q", typed);
}

async function turnPage(newer) {
  const cursor = newer ? around.newer : around.older;
  if (!cursor) return false;
  const answer = await list(cursor, newer);
  if (!answer) return false;
  if (newer && !answer.newer && shown.length < 24) await list(null); // a first page is a whole one
  from = around.newer && shown.length ? shown[0].id : null;
  writeAddress(true);
  find(".cases-left").scrollTop = 0;
  return shown.length > 0;
}

// Go on where a search was cut: what it finds comes below what it has found.
const goOn = () => list(around.older, false, shown.length < 24 ? shown : []);

async function refresh() {
  await offer();
  await list(from === null ? null : from + 1);
  countOn();
}

async function offer() {
  const answer = await ask("choices", {}).catch(() => null);
  if (!answer) return say(NO_ANSWER, "waiting");
  if (!answer.ok) return refuse(answer.says);
  offers = answer;
  fillChoices();
  showChips();
  if (root.dataset.state === "empty" && !isRefused) showEmpty(emptyState());
}

// ---- one case ----

async function open(id, isNew, takesFocus) {
  openId = id;
  writeAddress(isNew);
  markOpen();
  const mine = ++opening;
  const answer = await ask("case", { id }).catch(() => null);
  if (mine !== opening) return;
  if (!answer) return say(NO_ANSWER, "waiting");
  hideWork();
  if (answer.ok) showCase(answer);
  else showNoCase(answer.says);
  say("");
  const link = links().find((one) => Number(one.dataset.id) === id);
  if (link) link.scrollIntoView({ block: "nearest" });
  if (takesFocus) panel.querySelector("h2").focus({ preventScroll: true });
}

function close() {
  const id = openId;
  openId = null;
  opening++;
  writeAddress(true);
  hideCase();
  markOpen();
  const link = links().find((one) => Number(one.dataset.id) === id);
  if (link) link.focus();
}

async function send(id) {
  const answer = await ask("send", { id }).catch(() => null);
  say(answer ? answer.says : NO_ANSWER, answer && answer.ok ? "saved" : "refused");
  if (answer && answer.ok && openId === id) open(id, false, true);
}

// ---- keys ----

function columns() {
  return Math.max(1, getComputedStyle(find(".cases-list")).gridTemplateColumns.split(" ").length);
}

// Move through the list, over its end to the next page; an open case follows.
async function step(by) {
  const all = links();
  const isOpen = openId !== null && !panel.hidden;
  const here = all.findIndex((one) => (isOpen ? Number(one.dataset.id) === openId : one === document.activeElement));
  const at = here < 0 ? (by > 0 ? 0 : all.length - 1) : here + by;
  let target = all[at];
  if (here >= 0 && !target && Math.abs(by) === 1) {
    if (!(await turnPage(by < 0))) return;
    target = by > 0 ? links()[0] : links().at(-1);
  }
  if (!target) return;
  if (isOpen) return open(Number(target.dataset.id), false, false);
  target.focus();
}

const arrows = () => (openId === null ? columns() : 1);
const KEYS = {
  "/": () => controls.elements.q.focus(),
  j: () => step(1),
  k: () => step(-1),
  ArrowRight: () => step(1),
  ArrowLeft: () => step(-1),
  ArrowDown: () => step(arrows()),
  ArrowUp: () => step(-arrows()),
  "[": () => turnPage(true),
  "]": () => turnPage(false),
  l: () => openId !== null && copyLink(),
};

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !isSeen()) return;
  const target = event.target instanceof Element ? event.target : document.body;
  const isField = Boolean(target.closest("input, textarea, select, [contenteditable]:not([contenteditable=false])"));
  if (event.key === "Escape") {
    if (isField && element.contains(target)) return target.blur();
    if (!bench.hidden) return hideWork();
    return openId !== null ? close() : undefined;
  }
  if (isField && target.name === "q" && event.key === "ArrowDown") {
    event.preventDefault();
    if (links().length) links()[0].focus();
    return;
  }
  if (isField || !bench.hidden) return;
  if (event.key.startsWith("Arrow") && !(document.activeElement === document.body || find(".cases-left").contains(target))) return;
  const doing = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!doing) return;
  event.preventDefault();
  doing();
}

const isSeen = () => element.isConnected && element.offsetParent !== null;

// ---- wiring ----

const actions = {
  newer: () => turnPage(true),
  older: () => turnPage(false),
  on: goOn,
  import: () => showWork("import"),
  export: () => showWork("export"),
  going: () => bench.hidden && showWork(working.kind),
};

for (const node of element.querySelectorAll("[data-action]")) {
  if (actions[node.dataset.action]) node.addEventListener("click", actions[node.dataset.action]);
}
controls.addEventListener("submit", (event) => {
  event.preventDefault();
  searchTyped();
});
controls.addEventListener("input", (event) => {
  if (event.target.name !== "q") return;
  clearTimeout(resting);
  resting = setTimeout(searchTyped, TYPING);
});
controls.addEventListener("change", (event) => {
  const { name, type, checked, value } = event.target;
  if (name && name !== "q") change(name, type === "checkbox" ? (checked ? "1" : "") : value);
});
element.addEventListener("click", (event) => {
  const link = event.target.closest(".cases-row");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  open(Number(link.dataset.id), true, true);
});

// The component may be mounted again; what the mount before left running must then be dead.
if (window.oocCases) window.oocCases.abort();
window.oocCases = new AbortController();
const { signal } = window.oocCases;
document.addEventListener("keydown", pressed, { signal });
window.addEventListener("popstate", backOrForth, { signal });
const visible = new IntersectionObserver(() => writeAddress(false)); // told when the tab is left or entered
visible.observe(root);
signal.addEventListener("abort", () => {
  clearTimeout(polling);
  visible.disconnect();
});

function backOrForth() {
  if (isSeen()) return restore();
  if (!OWN.some((name) => new URLSearchParams(location.search).has(name))) return;
  readAddress();
  document.querySelector("#desk-tabs [data-tab-id=cases]").click();
  restore();
}

async function restore() {
  readAddress();
  showChips();
  const isOpen = openId !== null;
  if (!isOpen) hideCase();
  await Promise.all([isOpen && open(openId, false, false), list(from === null ? null : from + 1).then((found) => found && countOn())]);
}

readAddress();
showChips();
offer().then(watch);
restore();

// The Teach tab: asks the desk for its teachers, shows what it draws, says what is pressed and typed.
//
// `server` has the handlers of ooc_app/teach.py. What they draw is escaped there; what is pressed says
// by its data- attributes what it asks for. The teacher that is open stands in the page's address.

const POLL = 1000; // ms between two looks at what goes on
const IDLE = 15000; // ms between two while nothing does: it may be begun elsewhere
const PATIENCE = 90000; // ms the desk may take to answer; a process that begins may take a minute
const NO_ANSWER = "The desk does not answer. Is it still running?";
const BEGINNING = '<section class="teach-work" aria-label="What goes on"><h3>Beginning</h3><progress aria-label="beginning"></progress></section>';
const SAVED = ["data-deed", "data-place", "data-teacher", "data-model", "data-tab", "data-fold", "name"];
const root = element.querySelector(".teach");
const one = root.querySelector(".teach-one");
const parts = Object.fromEntries([...root.querySelectorAll("[data-part]")].map((node) => [node.dataset.part, node]));

let opened = null; // the teacher that is open
let adding = null; // the form that is open: null, "" for no place yet, a place, or "change"
let going = []; // the teachers something is being done with
let digests = {}; // of what was drawn last
let polling = 0;
let turn = 0; // counts what is opened, so that a late answer to an earlier one is dropped
let teachers = [];
let askable = 0;
let mayChange = false;

// The limits that are typed outlive a reload: what goes on after it is to keep to them, too.
let limits = {};
try {
  limits = JSON.parse(sessionStorage.getItem("ooc-teach-limits")) || {};
} catch {
  limits = {}; // a browser that lends no memory
}

function keepLimits(fields) {
  limits = { teacher: opened, typed: typed(fields) };
  try {
    sessionStorage.setItem("ooc-teach-limits", JSON.stringify(limits));
  } catch {
    return; // the page has them until it is reloaded
  }
}

async function ask(name, payload) {
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE));
  const answer = await Promise.race([server[name + "_"](payload), late]).catch(() => null);
  return answer || { ok: false, says: NO_ANSWER };
}

function say(words) {
  root.querySelector(".teach-says").textContent = words || "";
}

const isSeen = () => element.isConnected && element.offsetParent !== null;

// ---- showing ----

// Draw anew only what has changed; the keyboard, what is typed and what is unfolded stay as they were.
function draw(name, html) {
  const node = parts[name];
  if (node.drawn === html) return;
  const held = node.contains(document.activeElement) ? address(document.activeElement) : null;
  const unfolded = [...node.querySelectorAll("details[open][data-fold]")].map((fold) => fold.dataset.fold);
  const isSame = node.of === opened;
  node.innerHTML = node.drawn = html;
  node.of = opened;
  for (const [field, value] of Object.entries((limits.teacher === opened && limits.typed) || {})) {
    const again = node.querySelector("[data-form=ask] [name=" + field + "]");
    if (again) again.value = value;
  }
  if (!isSame) return;
  for (const fold of unfolded) {
    const again = node.querySelector("details[data-fold=" + fold + "]");
    if (again) again.open = true;
  }
  const again = held && node.querySelector(held);
  if (again && !again.disabled) again.focus({ preventScroll: true });
}

function address(node) {
  for (const name of SAVED)
    if (node.hasAttribute(name)) return "[" + name + "=" + CSS.escape(node.getAttribute(name)) + "]";
  const fold = node.closest("details[data-fold]");
  return fold && node.matches("summary") ? "[data-fold=" + fold.dataset.fold + "] > summary" : null;
}

async function list() {
  const answer = await ask("list", { teacher: opened });
  if (!answer.ok) return say(answer.says);
  ({ teachers, askable, going } = answer);
  mayChange = answer.may_change;
  for (const [name, html] of Object.entries(answer.parts)) draw(name, html);
  root.dataset.state = "ready";
  if (mayChange && !askable && adding === null && opened === null) await form("");
  watch();
}

async function open(name, focuses) {
  const mine = ++turn;
  const isOther = name !== opened;
  opened = name;
  writeAddress();
  mark();
  if (isOther) for (const part of ["work", "figures", "runs"]) draw(part, "");
  const answer = await ask("one", { teacher: name });
  if (mine !== turn) return;
  if (!answer.ok) {
    say(answer.says);
    return close();
  }
  if (isOther) closeForm();
  one.hidden = false;
  for (const [part, html] of Object.entries(answer.parts)) draw(part, html);
  if (answer.going && !going.includes(name)) going.push(name);
  if (focuses) one.querySelector("h2").focus();
  watch();
  const measured = await ask("figures", { teacher: name });
  if (mine !== turn || !measured.ok) return;
  for (const [part, html] of Object.entries(measured.parts)) draw(part, html);
}

function close() {
  const name = opened;
  opened = null;
  turn++;
  one.hidden = true;
  writeAddress();
  mark();
  const link = name && parts.list.querySelector("[data-teacher=" + CSS.escape(name) + "]");
  if (link) link.focus();
}

function mark() {
  for (const node of parts.list.querySelectorAll("[data-of], [data-teacher]")) {
    if ((node.dataset.of || node.dataset.teacher) === opened) node.setAttribute("aria-current", "true");
    else node.removeAttribute("aria-current");
  }
}

const refresh = () => Promise.all([list(), opened === null ? null : open(opened, false)]);

// ---- the address ----

function writeAddress() {
  const given = new URLSearchParams(location.search);
  given.delete("teach");
  if (isSeen() && opened !== null) given.set("teach", opened);
  const query = String(given);
  const next = location.pathname + (query ? "?" + query : "") + location.hash;
  if (next !== location.pathname + location.search + location.hash) history.replaceState(history.state, "", next);
}

// ---- what goes on ----

function watch() {
  clearTimeout(polling);
  if (element.isConnected) polling = setTimeout(look, going.length ? POLL : IDLE);
}

async function look() {
  if (!isSeen() || document.hidden) return; // becoming visible again looks anew
  const before = going;
  const answer = await ask("look", { teacher: opened, seen: digests });
  if (!answer.ok) {
    say(answer.says);
    polling = setTimeout(look, 4 * POLL);
    return;
  }
  digests = answer.digests;
  going = answer.going;
  const { cells, ...drawn } = answer.parts;
  for (const [name, html] of Object.entries(drawn)) draw(name, html);
  if (cells) fill(JSON.parse(cells));
  const ended = before.filter((name) => !going.includes(name));
  const begun = going.some((name) => !before.includes(name));
  if (!ended.length && !begun) return watch();
  await refresh();
  if (!ended.length) return;
  const said = ended.includes(opened) && parts.work.querySelector(".notice");
  const deed = ended.includes(opened) && parts.work.querySelector("h3");
  say((deed ? deed.textContent + " of " : "") + ended.join(", ") + " has ended. " + (said ? said.textContent : ""));
}

function fill(cells) {
  for (const [name, [state, opinions]] of Object.entries(cells)) {
    const row = parts.list.querySelector("[data-of=" + CSS.escape(name) + "]");
    if (!row) continue;
    if (state !== null) row.querySelector("[data-cell=state]").textContent = state;
    row.querySelector("[data-cell=opinions]").textContent = opinions;
  }
  parts.list.drawn = null; // it is not as it was drawn any more
}

// ---- the form ----

async function form(place, focuses) {
  const isChange = place === "change";
  const before = adding;
  adding = place;
  const wanted = isChange ? { teacher: opened } : { place, closes: teachers.length > 0 };
  const answer = await ask("form", wanted);
  if (!answer.ok) {
    adding = before;
    return say(answer.says);
  }
  say("");
  if (!isChange && opened !== null) close();
  draw("form", answer.form);
  if (!focuses) return;
  const chosen = place && !isChange ? parts.form.querySelector("[aria-pressed=true]") : parts.form.querySelector("h2");
  chosen.focus();
  parts.form.scrollIntoView({ block: "nearest" });
}

function closeForm() {
  adding = null;
  draw("form", "");
}

function typed(node) {
  if (!node) return {};
  const read = Object.fromEntries(new FormData(node));
  const tick = node.querySelector("[name=text_only]");
  return tick ? { ...read, text_only: tick.checked } : read;
}

// A test may take its time; what is pressed meanwhile goes on.
async function test(box, payload, button) {
  const result = box.querySelector(".teach-tested");
  button.disabled = true;
  result.textContent = "Looking ...";
  const answer = await ask("test", payload);
  button.disabled = false;
  if (!result.isConnected) return;
  if (answer.ok) result.innerHTML = answer.tested;
  else result.textContent = answer.says;
  const known = result.querySelector("template");
  const models = box.querySelector("datalist");
  if (known && models) models.replaceChildren(known.content.cloneNode(true));
}

root.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { form: kind } = event.target.dataset;
  if (kind === "ask") return begin("run");
  const button = event.target.querySelector("[type=submit]");
  button.disabled = true;
  const answer = await ask(kind, { teacher: kind === "change" ? opened : null, typed: typed(event.target) });
  button.disabled = false;
  if (!answer.ok) {
    event.target.querySelector(".teach-tested").textContent = answer.says;
    return;
  }
  closeForm();
  await Promise.all([open(answer.teacher, true), list()]);
  say(answer.says);
  const next = parts.deeds.querySelector("[data-deed=rehearse]");
  if (kind === "add" && next) next.focus();
});

root.addEventListener("input", (event) => {
  const fields = event.target.closest("[data-form=ask]");
  if (fields) keepLimits(fields);
});

// ---- what is done with a teacher ----

async function begin(deed, goesOn) {
  const limits = deed === "run" ? { ...typed(parts.deeds.querySelector("[data-form=ask]")), go_on: Boolean(goesOn) } : {};
  for (const node of one.querySelectorAll("[data-deed], [type=submit]")) node.disabled = true;
  say("Beginning ...");
  draw("work", BEGINNING);
  const answer = await ask("begin", { teacher: opened, deed, typed: limits });
  say(answer.ok ? "" : answer.says);
  for (const part of ["deeds", "work", "card"]) parts[part].drawn = null;
  digests = {};
  await refresh();
  if (answer.ok) going = going.includes(answer.teacher) ? going : [...going, answer.teacher];
  const stop = parts.work.querySelector("[data-deed=stop]");
  if (stop) stop.focus({ preventScroll: true });
  watch();
}

async function simple(deed) {
  const answer = await ask(deed, { teacher: opened });
  if (deed !== "stop" || !answer.ok) await (deed === "remove" && answer.ok ? gone(answer.teacher) : refresh());
  say(answer.says);
}

async function gone(name) {
  if (name === null) close();
  return refresh();
}

const DEEDS = {
  new: () => form("", true),
  close: () => {
    const wasChange = adding === "change";
    closeForm();
    const back = (wasChange ? parts.card : parts.list).querySelector("[data-deed]");
    if (back) back.focus();
  },
  change: () => form("change", true),
  test: (button) => test(parts.deeds, { teacher: opened }, button),
  try: (button) => {
    const fields = button.closest("form");
    test(fields, { teacher: adding === "change" ? opened : null, typed: typed(fields) }, button);
  },
  copy: (button) => copy(button),
  "go-on": () => begin("run", true),
  stop: () => simple("stop"),
  forget: () => simple("forget"),
  remove: () => simple("remove"),
};
for (const deed of ["run", "rehearse", "flip", "retire", "reinstate"]) DEEDS[deed] = () => begin(deed);

async function copy(button) {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    say("The command is copied.");
  } catch {
    getSelection().selectAllChildren(code);
    say("The command is selected: copy it with the keyboard.");
  }
}

root.addEventListener("click", (event) => {
  const node = event.target.closest("button, a[data-teacher], tr[data-of]");
  if (!node) return;
  const { deed, place, model, tab, teacher, of } = node.dataset;
  if (deed) return DEEDS[deed](node);
  if (place !== undefined) return form(place, true);
  if (model !== undefined) return pick(node, model);
  if (tab) return document.querySelector("#desk-tabs [data-tab-id=" + tab + "]").click();
  if (event.ctrlKey || event.metaKey || event.shiftKey || !(teacher || (of && mayChange))) return;
  event.preventDefault();
  open(teacher || of, true);
});

// A model that the server has: into the form, or into the settings by way of the form.
async function pick(node, model) {
  if (!node.closest("form")) await form("change", false);
  const field = parts.form.querySelector("[name=model]");
  field.value = model;
  field.focus();
  parts.form.querySelector(".teach-tested").textContent = "";
}

// ---- wiring ----

if (window.oocTeach) window.oocTeach.abort(); // what a mount before this one left running
window.oocTeach = new AbortController();
const { signal } = window.oocTeach;
document.addEventListener("visibilitychange", () => isSeen() && !document.hidden && refresh(), { signal });
let wasSeen = false;
const visible = new IntersectionObserver(() => {
  if (isSeen() === wasSeen) return;
  wasSeen = isSeen();
  writeAddress();
  if (wasSeen) refresh();
});
visible.observe(root);
signal.addEventListener("abort", () => {
  clearTimeout(polling);
  visible.disconnect();
});
opened = new URLSearchParams(location.search).get("teach");

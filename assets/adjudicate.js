// The labelling loop: shows a case, takes a ruling, shows the next one.
//
// Runs, behind the other adjudicate_*.js, as the `js_on_load` of one gr.HTML component: `element` is its
// root, `server` its Python functions (ooc_app/adjudicate.py). A case leaves the screen only when the
// desk has answered with a ruling id. What the desk has not confirmed is in localStorage, under one
// submission id, so that sending it twice makes one ruling.

const WHO = (window.gradio_config && window.gradio_config.username) || ""; // what is kept is one person's own
const KEPT = "ooc-desk:kept-ruling:" + (WHO && WHO + ":"); // one for each ruling: two tabs may both keep some
const DRAFT = "ooc-desk:draft:" + (WHO && WHO + ":");
const PATIENCE = 8000; // ms the desk may take to answer before it counts as unreachable
const RENEWAL = 240000; // ms; a lease lasts ten minutes
const RECOUNT = 30000; // ms between two looks at what colleagues have done
const SLOW = 100; // ms; sooner than that, showing it would only cost a repaint
const RETRY = 2000; // ms between two tries to send a kept ruling
const RECENT = 10; // rulings that can be corrected and undone
const NOTHING_SAID = { best: null, rationale: null, elements: [], note: "", flagged: false, cause: null };

let current = null; // the case on screen
let ahead = []; // cases held for this annotator, pictures already loading
let draft = null; // what has been said of the case on screen, but not yet as a ruling
let correcting = null; // the ruling opened to be replaced: { ruling, aside, shown }
let recent = []; // rulings just made, newest first; undo names the first, so that asking twice undoes once
let returned = []; // rulings sent back to this annotator
let busy = false;
let slow = 0; // the timer that shows a ruling is on its way, should the desk take its time
let shown = { since: 0, seconds: 0 }; // time the case was visible

// ---- talking to the desk ----

class Unreachable extends Error {}

async function ask(name, payload) {
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE));
  const answer = await Promise.race([server[name + "_"]({ ...payload, who: WHO }), late]);
  if (!answer) throw new Unreachable();
  return answer;
}

const held = () => [correcting ? correcting.aside : current, ...ahead].filter(Boolean).map((one) => one.id);

function submissionId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function remember(key, value, text) {
  try {
    if (text !== undefined) localStorage.setItem(key, text);
    else if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, JSON.stringify(value));
    return true;
  } catch {
    return false; // private window or full: the ruling still goes to the desk, it is only not kept here
  }
}

function recall(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

// The rulings that pages before this one could not get through.
function keptRulings() {
  try {
    const keys = Object.keys(localStorage).filter((key) => /^[0-9a-f]{32}$/.test(key.replace(KEPT, "")));
    return keys.map(recall).filter(Boolean);
  } catch {
    return []; // a window without storage keeps nothing
  }
}

const draftKey = () => DRAFT + (correcting ? "ruling-" + correcting.ruling : current.id);

// ---- which case is on screen ----

// The desk lists the cases this annotator holds; those already here come as their id alone.
function showNext(answer) {
  const before = correcting && { case: correcting.aside, seconds: correcting.shown.seconds };
  if (correcting) current = correcting.aside;
  correcting = null;
  notice("");
  const known = new Map([current, ...ahead].filter(Boolean).map((one) => [one.id, one]));
  ahead = answer.cases.map((one) => known.get(one.id) || preload(one)).filter((one) => one.cards);
  show(ahead.shift() || null, answer.empty);
  if (before && current === before.case) shown.seconds = before.seconds;
}

function show(one, empty) {
  current = one;
  root.dataset.state = one ? (correcting ? "correcting" : one.split ? "split" : "case") : "empty";
  find(".adj-case").hidden = !one;
  find(".adj-empty").hidden = Boolean(one);
  if (!one) {
    draft = null;
    showEmpty(empty || { why: "done" }, returned);
    if (empty && empty.poll) setTimeout(() => element.isConnected && !current && open(), RETRY / 2);
    return;
  }
  showCase(one);
  const left = recall(draftKey());
  draft = { ...NOTHING_SAID, ...(correcting ? left || one.answer : one.answer || left) };
  if (one.answer) remember(draftKey(), draft);
  one.answer = null; // from here on the draft says more
  showDraft(draft);
  shown = { since: document.hidden ? 0 : performance.now(), seconds: 0 };
}

function take(answer) {
  if (answer.returned) returned = answer.returned;
  if (answer.recent) recent = answer.recent;
  if (answer.ruled) recent = [answer.ruled, ...recent.filter((one) => one.case !== answer.ruled.case)].slice(0, RECENT);
  if (answer.cases) showNext(answer);
  afterPaint(() => showRecent(recent, returned));
  afterPaint(countOn);
}

// ---- what the annotator does ----

function change(part) {
  if (!busy) keep(part);
}

// What is typed is kept also while the desk is being asked: it stands in the field already.
function keep(part) {
  if (!draft) return;
  Object.assign(draft, part);
  remember(draftKey(), draft);
  showDraft(draft);
}

function pickBest(letter) {
  if (!current.cards.some((one) => one.letter === letter)) return say(t("says.no_letter", { letter }), "refused");
  change({ best: draft.best === letter ? null : letter });
}

function pickReason(reason) {
  if (!draft) return;
  const without = draft.elements.filter((one) => one !== reason);
  change({ elements: without.length === draft.elements.length ? [...without, reason] : without });
}

const pickCause = (cause) => current && current.split && change({ cause: draft.cause === cause ? null : cause });

function writeRationale() {
  if (!current || busy) return;
  if (draft.rationale !== null && draft.rationale.trim() === "") return change({ rationale: null });
  if (draft.rationale === null) {
    const best = current.cards.find((one) => one.letter === draft.best);
    change({ rationale: best ? best.rationale : "" });
  }
  find(".adj-rationale").focus();
}

function stopWatch() {
  if (shown.since) shown.seconds += (performance.now() - shown.since) / 1000;
  shown.since = 0;
  return shown.seconds;
}

async function rule(verdict) {
  if (busy || !current) return;
  const best = current.cards.find((one) => one.letter === draft.best);
  await deliver({
    submission_id: submissionId(),
    case_id: current.id,
    verdict,
    best: best ? best.token : null,
    rationale: draft.rationale && draft.rationale.trim() ? draft.rationale.trim() : null,
    elements: draft.elements,
    note: draft.note,
    flagged: draft.flagged,
    cause: current.split ? draft.cause : null,
    corrects: correcting ? correcting.ruling : null,
    seconds: Math.round(stopWatch() * 100) / 100,
    draft: draftKey(),
  });
}

// Send a ruling until the desk confirms or refuses it. The screen stays as it is meanwhile.
async function deliver(ruling) {
  turnBusy(true);
  slow = setTimeout(() => (root.dataset.busy = ruling.verdict), SLOW);
  const isKept = remember(KEPT + ruling.submission_id, ruling);
  for (;;) {
    try {
      return await finish(ruling, await ask("rule", { ...ruling, held: held() }));
    } catch (problem) {
      if (!(problem instanceof Unreachable)) throw problem;
      say(t(isKept ? "says.kept" : "says.unkept", { verdict: t("verdict." + ruling.verdict) }), "waiting");
      await new Promise((resolve) => setTimeout(resolve, RETRY));
    }
  }
}

async function finish(ruling, answer) {
  remember(KEPT + ruling.submission_id, null);
  if (answer.ok && ruling.draft) remember(ruling.draft, null);
  turnBusy(false);
  if (current) take(answer);
  else await open(); // it was kept by a page before this one, which has nothing yet
  say(spoken(answer.says), answer.ok ? "saved" : "refused");
}

function turnBusy(on) {
  busy = on;
  root.ariaBusy = String(on);
  clearTimeout(slow);
  delete root.dataset.busy;
}

// All but a ruling: asked once, and said so where the desk does not answer. Returns the answer, if it is one.
async function move(name, payload) {
  if (busy) return null;
  turnBusy(true);
  try {
    const answer = await ask(name, { ...payload, held: held() });
    turnBusy(false);
    say(spoken(answer.says), answer.ok ? "saved" : "refused");
    return answer;
  } catch (problem) {
    turnBusy(false);
    if (!(problem instanceof Unreachable)) throw problem;
    say(t("says.unreachable"), "waiting");
    if (!current) show(null, { why: "unreachable", poll: true });
    return null;
  }
}

async function moveOn(name, payload) {
  const answer = await move(name, payload);
  if (answer) take(answer);
  return answer;
}

// A ruling opened to be replaced; the case on screen waits aside.
async function reopen(id, words) {
  const answer = await move("reopen", { ruling_id: id });
  if (!answer || !answer.ok) return;
  correcting = { ruling: id, aside: correcting ? correcting.aside : current, shown: correcting ? correcting.shown : { seconds: stopWatch() } };
  show(preload(answer.case));
  notice([words, spoken(answer.says)].filter(Boolean).join(" "));
  say("");
}

function leaveCorrection() {
  if (busy) return;
  const { ruling, aside, shown: before } = correcting;
  remember(draftKey(), null);
  correcting = null;
  notice("");
  say(t("says.as_it_was", { ruling }));
  if (!aside) return open();
  show(aside);
  shown.seconds = before.seconds;
}

async function sendBack() {
  const note = find(".adj-back-note").value;
  find(".adj-back").close();
  const answer = await moveOn("send_back", { case_id: current.id, note });
  if (answer && answer.ok) find(".adj-back-note").value = "";
}

// What nobody waits for: the next case is on screen first.
const afterPaint = (doing) => requestAnimationFrame(() => setTimeout(doing));
const countOn = () => ask("progress", {}).then((progress) => progress.ok && showProgress(progress)).catch(() => {});

// Keep the leases while the case is being read; a page left alone for long may have lost them.
async function renew() {
  if (busy || !current || correcting || document.hidden || !element.isConnected) return;
  const read = current;
  const answer = await ask("look", { held: held() }).catch(() => null);
  if (!answer || !answer.ok || busy || current !== read || correcting) return;
  if (answer.cases.some((one) => one.id === current.id)) return;
  say(t("says.went"), "refused");
  take(answer);
}

const open = () => moveOn("look", {});
const actions = {
  rationale: writeRationale,
  skip: () => current && !correcting && moveOn("skip", { case_id: current.id }),
  flag: () => change({ flagged: !(draft && draft.flagged) }),
  undo: () => (correcting ? leaveCorrection() : moveOn("undo", { ruling_id: recent.length ? recent[0].id : null })),
  back: () => {
    if (current && current.split && !correcting) find(".adj-back").showModal();
    else actions.returned();
  },
  returned: () => returned.length && reopen(returned[0].id, returnedWords(returned[0])),
  help: () => find(".adj-help").showModal(),
  guidelines: openGuidelines,
  editGuidelines: () => editGuidelines(true),
  leaveGuidelines,
  saveGuidelines,
  sendBack,
  toDistil: () => openTab("distil"),
  toCases: () => openTab("cases"),
  again: open,
};

// ---- keys ----

const PLAIN = {
  1: () => rule("in_context"), 2: () => rule("out_of_context"), 3: () => rule("unsure"),
  N: () => find(".adj-note").focus(), R: actions.rationale, S: actions.skip, F: actions.flag, Z: actions.undo,
  K: actions.back, G: actions.guidelines, M: stepPoint, "?": actions.help,
  E: () => !find(".adj-evidence").hidden && (find(".adj-evidence").open = !find(".adj-evidence").open),
  "+": picture.in, "=": picture.in, "-": picture.out, 0: picture.fit, T: picture.turn, L: picture.light,
  ARROWLEFT: () => toHistory(-1), ARROWRIGHT: () => toHistory(1),
};
const ARROWS = { ARROWLEFT: [-1, 0], ARROWRIGHT: [1, 0], ARROWUP: [0, -1], ARROWDOWN: [0, 1] };

function toHistory(step) {
  showRecent(recent, returned); // it may not have caught up with the last ruling yet
  const items = [...element.querySelectorAll(".adj-recent button")];
  const at = items.indexOf(document.activeElement);
  const next = items[at < 0 ? 0 : Math.min(items.length - 1, Math.max(0, at + step))];
  if (next) next.focus();
}

function deed(event) {
  // With a keyboard of another script the key's place says which letter is meant.
  const key = (/^Key[A-Z]$/.test(event.code) && !/^[a-z]$/i.test(event.key) ? event.code[3] : event.key).toUpperCase();
  if (event.shiftKey && /^[A-Z]$/.test(key)) {
    const reason = Object.keys(REASONS).find((one) => REASONS[one] === key);
    return reason && (() => pickReason(reason));
  }
  if (event.shiftKey && key in ARROWS) return () => picture.move(...ARROWS[key]);
  // Where digits are typed with Shift (AZERTY) they stay digits, and causes are clicked.
  if (event.shiftKey && /^Digit[1-5]$/.test(event.code) && !/^\d$/.test(key)) return () => pickCause(CAUSES[event.code[5] - 1]);
  if (LETTERS.includes(key)) return current && (() => pickBest(key));
  return Object.hasOwn(PLAIN, key) ? PLAIN[key] : null;
}

function pressedKey(event) {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (!element.isConnected || element.offsetParent === null || element.querySelector("dialog[open]")) return;
  const target = event.target instanceof Element ? event.target : document.body;
  const written = target.closest("input, textarea, select, [contenteditable]:not([contenteditable=false])");
  const field = written && !written.closest("dialog") ? written : null; // a dialog just closed keeps its focus for a moment
  if (event.key === "Escape") {
    if (field && element.contains(field)) return field.blur();
    return correcting ? leaveCorrection() : undefined;
  }
  if (field) return;
  const doing = deed(event);
  if (!doing) return;
  event.preventDefault();
  doing();
}

// ---- wiring ----

find(".adj-reasons").replaceChildren(
  ...Object.entries(REASONS).map(([reason, letter]) => {
    const node = toggle("", () => pickReason(reason));
    node.append(keyed(t("element." + reason), letter));
    node.dataset.reason = reason;
    node.setAttribute("aria-keyshortcuts", "Shift+" + letter);
    return node;
  }),
);
find(".adj-causes").replaceChildren(
  ...CAUSES.map((cause, at) => {
    const node = toggle(t("cause." + cause), () => pickCause(cause));
    node.dataset.cause = cause;
    node.setAttribute("aria-keyshortcuts", "Shift+" + (at + 1));
    return node;
  }),
);
for (const node of element.querySelectorAll("[data-verdict]")) node.addEventListener("click", () => rule(node.dataset.verdict));
for (const node of element.querySelectorAll("[data-action]")) node.addEventListener("click", () => actions[node.dataset.action]());
find(".adj-cards").addEventListener("dblclick", (event) => event.target.closest(".adj-card[data-letter]") && pickBest(event.target.closest(".adj-card").dataset.letter));
find(".adj-note").addEventListener("input", (event) => keep({ note: event.target.value }));
find(".adj-note").addEventListener("keydown", (event) => event.key === "Enter" && !event.isComposing && event.target.blur());
find(".adj-guidelines-edit").addEventListener("input", (event) => remember(UNSAVED, event.target.value));
find(".adj-rationale").addEventListener("input", (event) => keep({ rationale: event.target.value }));
// The component may be mounted again; what the mount before left running must then be dead.
if (window.oocDesk) window.oocDesk.abort();
window.oocDesk = new AbortController();
const { signal } = window.oocDesk;
document.addEventListener("keydown", pressedKey, { signal });
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return stopWatch();
  if (current && !busy) shown.since = performance.now();
  renew();
}, { signal });
const timers = [setInterval(renew, RENEWAL), setInterval(() => document.hidden || countOn(), RECOUNT)];
signal.addEventListener("abort", () => timers.forEach(clearInterval));

(async () => {
  const kept = keptRulings();
  for (const ruling of kept) await deliver(ruling);
  if (!kept.length) open();
})();

// The labelling loop: shows a case, takes a ruling, shows the next one.
//
// Runs as the `js_on_load` of one gr.HTML component: `element` is its root, `server` its Python
// functions (ooc_app/adjudicate.py). Two rules hold everywhere: whatever comes from the desk is set
// as text, never as markup; and a case leaves the screen only when the desk has answered with a
// ruling id. What the desk has not confirmed is in localStorage, under one submission id, so that
// sending it twice makes one ruling.

const WHO = (window.gradio_config && window.gradio_config.username) || ""; // what is kept is one person's own
const KEPT = "ooc-desk:kept-ruling" + (WHO && ":" + WHO);
const DRAFT = "ooc-desk:draft:" + (WHO && WHO + ":");
const PATIENCE = 8000; // ms the desk may take to answer before it counts as unreachable
const RENEWAL = 240000; // ms; a lease lasts ten minutes
const RECOUNT = 30000; // ms between two looks at what colleagues have done
const RECENT = 5; // rulings shown under the case, as many as the desk sends
const RETRY = 2000; // ms between two tries to send a kept ruling

let current = null; // the case on screen
let ahead = []; // cases held for this annotator, pictures already loading
let draft = null; // what has been said of the case on screen, but not yet as a ruling
let recent = []; // rulings just made, newest first; undo names the first, so that asking twice undoes once
let busy = false;
let shown = { since: 0, seconds: 0 }; // time the case was visible

// ---- talking to the desk ----

class Unreachable extends Error {}

async function ask(name, payload) {
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE));
  const answer = await Promise.race([server[name + "_"]({ ...payload, who: WHO }), late]);
  if (!answer) throw new Unreachable();
  return answer;
}

const held = () => [current, ...ahead].filter(Boolean).map((one) => one.id);

function submissionId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function remember(key, value) {
  try {
    if (value === null) localStorage.removeItem(key);
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

// ---- what the annotator does ----

const pickBest = (letter) => change({ best: draft && draft.best === letter ? null : letter });

function pickReason(reason) {
  if (!draft) return;
  const without = draft.elements.filter((one) => one !== reason);
  change({ elements: without.length === draft.elements.length ? [...without, reason] : without });
}

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
    seconds: Math.round(stopWatch() * 100) / 100,
  });
}

// Send a ruling until the desk confirms or refuses it. The screen stays as it is meanwhile.
async function deliver(ruling) {
  busy = true;
  root.dataset.busy = ruling.verdict;
  const isKept = remember(KEPT, ruling);
  for (;;) {
    try {
      finish(ruling, await ask("rule", { ...ruling, held: held() }));
      return;
    } catch (problem) {
      if (!(problem instanceof Unreachable)) throw problem;
      say(
        "The desk does not answer. Your ruling (" + VERDICT_WORDS[ruling.verdict] + ") is " +
          (isKept ? "kept in this browser" : "on this page only, do not close it,") + " and will be sent as soon as it does.",
        "waiting",
      );
      await new Promise((resolve) => setTimeout(resolve, RETRY));
    }
  }
}

function finish(ruling, answer) {
  remember(KEPT, null);
  if (answer.ok) remember(DRAFT + ruling.case_id, null);
  settle();
  say(answer.says, answer.ok ? "saved" : "refused");
  if (!answer.cases && !current) return open();
  if (answer.cases) showNext(answer);
  if (answer.recent) showRecent(answer.recent);
  else if (answer.ruled) showRecent([answer.ruled, ...recent.filter((one) => one.id !== answer.ruled.id)].slice(0, RECENT));
  countOn();
}

function settle() {
  busy = false;
  delete root.dataset.busy;
}

// Skip, undo and look again: asked once, and said so where the desk does not answer.
async function move(name, payload) {
  if (busy) return;
  busy = true;
  try {
    const answer = await ask(name, { ...payload, held: held() });
    settle();
    say(answer.says || "", answer.ok ? "saved" : "refused");
    if (answer.cases) showNext(answer);
    if (answer.recent) showRecent(answer.recent);
    countOn();
  } catch (problem) {
    settle();
    if (!(problem instanceof Unreachable)) throw problem;
    say("The desk does not answer; nothing was changed. Is it still running?", "waiting");
    if (!current) showEmpty({ title: "The desk does not answer", way: "Start it again; this page goes on by itself.", poll: true });
  }
}

// Counting is not waited for: the next case is on screen first.
const countOn = () => ask("progress", {}).then((progress) => progress.ok && showProgress(progress)).catch(() => {});

// Keep the leases while the case is being read; a page left alone for long may have lost them.
async function renew() {
  if (busy || !current || document.hidden || !element.isConnected) return;
  const answer = await ask("look", { held: held() }).catch(() => null);
  if (!answer || !answer.ok || busy || !current) return;
  if (answer.cases.some((one) => one.id === current.id)) return;
  say("The case on screen went to a colleague while this page was idle.", "refused");
  showNext(answer);
}

const open = () => move("look", {});
const actions = {
  rationale: writeRationale,
  skip: () => current && move("skip", { case_id: current.id }),
  flag: () => change({ flagged: !(draft && draft.flagged) }),
  undo: () => move("undo", { ruling_id: recent.length ? recent[0].id : null }),
  help: () => find(".adj-help").showModal(),
  again: open,
};

// ---- wiring ----

function pressedKey(event) {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (!element.isConnected || element.offsetParent === null || find(".adj-help").open) return;
  const target = event.target instanceof Element ? event.target : document.body;
  if (event.key === "Escape" && element.contains(target)) return target.blur();
  if (target.closest("input, textarea, select, [contenteditable]:not([contenteditable=false])")) return;
  const key = event.key.toUpperCase();
  const doing =
    { 1: () => rule("in_context"), 2: () => rule("out_of_context"), 3: () => rule("unsure"), N: () => find(".adj-note").focus() }[key] ||
    { R: actions.rationale, S: actions.skip, F: actions.flag, Z: actions.undo, "?": actions.help }[key] ||
    (LETTERS.includes(key) && current && current.cards.some((one) => one.letter === key) && (() => pickBest(key)));
  if (!doing) return;
  event.preventDefault();
  doing();
}

find(".adj-reasons").replaceChildren(...REASONS.map((reason) => toggle(reason, false, () => pickReason(reason))));
for (const node of element.querySelectorAll("[data-verdict]")) node.addEventListener("click", () => rule(node.dataset.verdict));
for (const node of element.querySelectorAll("[data-action]")) node.addEventListener("click", () => actions[node.dataset.action]());
find(".adj-cards").addEventListener("dblclick", (event) => event.target.closest(".adj-card") && pickBest(event.target.closest(".adj-card").dataset.letter));
find(".adj-note").addEventListener("input", (event) => change({ note: event.target.value }));
find(".adj-note").addEventListener("keydown", (event) => event.key === "Enter" && event.target.blur());
find(".adj-rationale").addEventListener("input", (event) => change({ rationale: event.target.value }));
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

const kept = recall(KEPT);
if (kept) deliver(kept);
else open();

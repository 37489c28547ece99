// What the Adjudicate tab shows: a case with its cards, the rulings just made, the empty desk.
//
// Runs before `adjudicate.js`, in the same function, as the `js_on_load` of one gr.HTML component
// whose root is `element`. Whatever comes from the desk is set as text, never as markup.

const VERDICT_WORDS = { in_context: "in context", out_of_context: "out of context", unsure: "can't tell" };
const REASONS = ["person", "place", "time", "event", "object", "other"];
const LETTERS = ["A", "B", "C", "D"];

const find = (selector) => element.querySelector(selector);
const root = find(".adj");

// ---- small builders: text in, elements out ----

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = text;
  return node;
}

function chip(verdict, confidence) {
  const node = make("span", "chip " + verdict);
  node.append(make("i", "shape " + verdict), make("span", "", VERDICT_WORDS[verdict] || verdict));
  if (typeof confidence === "number") node.append(make("b", "", Math.round(confidence * 100) + " %"));
  return node;
}

function say(text, tone) {
  const line = find(".adj-says");
  line.textContent = text;
  line.dataset.tone = tone || "";
}

// ---- showing a case ----

function preload(one) {
  if (one.picture) {
    one.loader = new Image();
    one.loader.src = one.picture;
    one.loader.decode().catch(() => {});
  }
  return one;
}

// The desk lists the cases this annotator holds; those already here come as their id alone.
function showNext(answer) {
  const known = new Map([current, ...ahead].filter(Boolean).map((one) => [one.id, one]));
  ahead = answer.cases.map((one) => known.get(one.id) || preload(one));
  show(ahead.shift() || null, answer);
}

function show(one, answer) {
  current = one;
  root.dataset.state = one ? "case" : "empty";
  find(".adj-case").hidden = !one;
  find(".adj-empty").hidden = Boolean(one);
  if (!one) return showEmpty(answer.empty);
  showPicture(one);
  find(".adj-caption").textContent = one.caption;
  find(".adj-meta").textContent = one.meta;
  showEvidence(one.evidence);
  find(".adj-cards").replaceChildren(...one.cards.map(card));
  find(".adj-best").replaceChildren(...one.cards.slice(0, LETTERS.length).map((given) => letterButton(given.letter)));
  draft = one.answer || recall(DRAFT + one.id) || { best: null, rationale: null, elements: [], note: "", flagged: false };
  if (one.answer) remember(DRAFT + one.id, draft);
  showDraft();
  shown = { since: document.hidden ? 0 : performance.now(), seconds: 0 };
}

function showPicture(one) {
  const image = find(".adj-img");
  const missing = find(".adj-nopicture");
  zoom.reset();
  image.hidden = !one.picture;
  missing.hidden = Boolean(one.picture);
  missing.textContent = "This case has no picture.";
  image.onerror = () => {
    image.hidden = true;
    missing.hidden = false;
    missing.textContent = "The picture of this case cannot be shown.";
  };
  if (one.picture) image.src = one.picture;
  else image.removeAttribute("src");
}

function showEvidence(evidence) {
  const box = find(".adj-evidence");
  box.hidden = evidence.length === 0;
  box.open = false;
  box.querySelector("summary").textContent = "evidence (" + evidence.length + ")";
  box.querySelector("ol").replaceChildren(
    ...evidence.map((given) => {
      const line = make("li");
      line.append(make("b", "", given.title || given.url || "untitled"), make("span", "", given.about), make("p", "", given.text));
      return line;
    }),
  );
}

function card(given) {
  const node = make("li", "adj-card");
  node.dataset.letter = given.letter;
  const head = make("header");
  head.append(make("b", "adj-letter", given.letter), chip(given.verdict, given.confidence));
  if (given.scripted) head.append(make("span", "adj-scripted", "scripted"));
  const rationale = make("p", "adj-says-why", given.rationale);
  rationale.dir = "auto";
  rationale.tabIndex = 0;
  node.append(head, rationale);
  return node;
}

function toggle(text, pressed, press) {
  const node = make("button", "", text);
  node.type = "button";
  node.setAttribute("aria-pressed", String(pressed));
  node.addEventListener("click", press);
  return node;
}

function letterButton(letter) {
  const node = toggle(letter, false, () => pickBest(letter));
  node.dataset.letter = letter;
  node.setAttribute("aria-keyshortcuts", letter);
  node.setAttribute("aria-label", "rationale " + letter + " is best");
  return node;
}

function showDraft() {
  const picked = (node) => String(node.dataset.letter === draft.best);
  for (const node of element.querySelectorAll(".adj-best button")) node.setAttribute("aria-pressed", picked(node));
  for (const node of element.querySelectorAll(".adj-card")) node.dataset.best = picked(node);
  for (const node of element.querySelectorAll(".adj-reasons button"))
    node.setAttribute("aria-pressed", String(draft.elements.includes(node.textContent)));
  find("[data-action=flag]").setAttribute("aria-pressed", String(draft.flagged));
  find("[data-action=rationale]").setAttribute("aria-expanded", String(draft.rationale !== null));
  find(".adj-own").hidden = draft.rationale === null;
  find(".adj-rationale").value = draft.rationale || "";
  find(".adj-note").value = draft.note;
}

function change(part) {
  if (!current || busy) return;
  Object.assign(draft, part);
  remember(DRAFT + current.id, draft);
  showDraft();
}

// ---- what stands around the case ----

function showEmpty(empty) {
  draft = null;
  find(".adj-empty-title").textContent = empty.title;
  find(".adj-empty-way").textContent = empty.way;
  const bar = find(".adj-empty-bar");
  bar.hidden = !empty.total;
  if (empty.total) Object.assign(bar, { max: empty.total, value: empty.done });
  find(".adj-empty-button").hidden = Boolean(empty.poll);
  if (empty.poll) setTimeout(() => element.isConnected && !current && open(), RETRY / 2);
}

function showRecent(rulings) {
  recent = rulings;
  if (!rulings.length) return find(".adj-recent").replaceChildren(make("li", "adj-hint", "Your rulings appear here, with who said what."));
  find(".adj-recent").replaceChildren(
    ...rulings.map((one) => {
      const node = make("li");
      if (one.picture) {
        const thumb = make("img");
        Object.assign(thumb, { src: one.picture, alt: "", loading: "lazy" });
        node.append(thumb);
      }
      const words = make("div");
      words.append(chip(one.verdict), make("p", "", one.said));
      node.title = one.title;
      node.append(words);
      return node;
    }),
  );
}

function showProgress(progress) {
  const place = document.getElementById("desk-progress");
  if (!place) return;
  const parts = [
    [progress.left, "left"],
    [progress.today, "today"],
    ["budget", progress.budget],
  ].map(([first, second]) => {
    const part = make("span");
    part.append(first === "budget" ? "budget " : "", make("b", "", first === "budget" ? second : first), first === "budget" ? "" : " " + second);
    return part;
  });
  parts[2].title = progress.budget_words;
  place.replaceChildren(...parts, make("span", "desk-who", progress.annotator));
}

// ---- the picture: wheel zooms at the pointer, a drag pans, a double click toggles ----

const zoom = (() => {
  const frame = find(".adj-picture");
  const image = find(".adj-img");
  let scale = 1, x = 0, y = 0, grip = null;
  const place = () => {
    image.style.transform = scale === 1 ? "" : "translate(" + x + "px," + y + "px) scale(" + scale + ")";
    frame.dataset.zoomed = String(scale > 1);
  };
  const to = (wanted, event) => {
    const box = frame.getBoundingClientRect();
    const fromX = event.clientX - box.left - box.width / 2, fromY = event.clientY - box.top - box.height / 2;
    const next = Math.min(8, Math.max(1, wanted));
    x = next === 1 ? 0 : fromX - ((fromX - x) * next) / scale;
    y = next === 1 ? 0 : fromY - ((fromY - y) * next) / scale;
    scale = next;
    place();
  };
  frame.addEventListener("wheel", (event) => { event.preventDefault(); to(scale * Math.exp(-event.deltaY / 400), event); }, { passive: false });
  frame.addEventListener("dblclick", (event) => to(scale > 1 ? 1 : 3, event));
  frame.addEventListener("pointerdown", (event) => {
    if (scale === 1) return;
    grip = [event.clientX - x, event.clientY - y];
    frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => {
    if (!grip) return;
    [x, y] = [event.clientX - grip[0], event.clientY - grip[1]];
    place();
  });
  for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, () => (grip = null));
  return { reset() { scale = 1; x = y = 0; place(); } };
})();

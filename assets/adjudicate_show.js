// What the Adjudicate tab shows of a case: picture, caption, evidence, cards, and what was said of it so far.
//
// Whatever comes from the desk is set as text, never as markup.

const REASONS = { person: "P", place: "L", time: "T", event: "E", object: "O", other: "H" }; // keys, with Shift
const CAUSES = ["ambiguous_caption", "guideline_gap", "slip", "edge_case", "judgement"];
const LETTERS = ["A", "B", "C", "D"];

const find = (selector) => element.querySelector(selector);
const root = find(".adj");
setWords(root);

// ---- small builders: text in, elements out ----

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = text;
  return node;
}

function chip(verdict, confidence) {
  const known = "verdict." + verdict in TEXTS[LANGUAGE];
  const node = make("span", "chip " + (known ? verdict : "unsure"));
  node.append(make("i", "shape " + (known ? verdict : "unsure")), make("span", "", known ? t("verdict." + verdict) : verdict));
  if (typeof confidence === "number") node.append(make("b", "", percent(confidence)));
  return node;
}

function toggle(text, press) {
  const node = make("button", "", text);
  node.type = "button";
  node.setAttribute("aria-pressed", "false");
  node.addEventListener("click", press);
  return node;
}

// A word with its key: the letter is underlined in it, or stands behind it where the word has none.
function keyed(word, letter) {
  const at = word.toLowerCase().indexOf(letter.toLowerCase());
  const node = make("span");
  if (at < 0) node.append(word + " ", make("kbd", "", letter));
  else node.append(word.slice(0, at), make("u", "", word[at]), word.slice(at + 1));
  return node;
}

function outside(text, className, tag) {
  const node = make(tag || "span", className, text);
  node.dir = "auto";
  return node;
}

// ---- where the rationales contradict each other ----

let points = 0; // of contention in the case on screen
let point = -1; // the one stepped to by key

function setMarked(node, text, segments) {
  if (!segments) return (node.textContent = text);
  node.replaceChildren(
    ...segments.map(([piece, belongs]) => {
      if (!belongs.length) return piece;
      const marked = make("mark", "adj-mark", piece);
      marked.dataset.points = belongs.join(" ");
      marked.tabIndex = 0;
      for (const one of belongs) points = Math.max(points, one + 1);
      return marked;
    }),
  );
}

function highlight(wanted) {
  for (const node of element.querySelectorAll(".adj-mark"))
    node.dataset.lit = String(wanted.length > 0 && node.dataset.points.split(" ").some((one) => wanted.includes(one)));
}

function stepPoint() {
  if (!points) return;
  point = (point + 1) % points;
  const all = [...element.querySelectorAll(".adj-mark")].filter((node) => node.dataset.points.split(" ").includes(String(point)));
  if (all.length) all[0].focus();
}

for (const [come, go] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
  find(".adj-text").addEventListener(come, (event) => event.target.closest(".adj-mark") && highlight(event.target.closest(".adj-mark").dataset.points.split(" ")));
  find(".adj-text").addEventListener(go, (event) => event.target.closest(".adj-mark") && highlight([]));
}

// ---- a case ----

function preload(one) {
  if (one.picture) {
    one.loader = new Image();
    one.loader.src = one.picture;
    one.loader.decode().catch(() => {}); // a broken one is told where it is shown
  }
  return one;
}

function showCase(one) {
  showPicture(one);
  points = 0;
  point = -1;
  setMarked(find(".adj-caption"), one.caption, one.marked && one.marked.caption);
  showMeta(one);
  showEvidence(one.evidence);
  const rulings = (one.split || []).map(rulingCard);
  find(".adj-cards").replaceChildren(...rulings, ...one.cards.map((given, at) => card(given, one.marked && one.marked.rationales[at])));
  find(".adj-cards").setAttribute("aria-label", t(one.split ? "cards.split" : "cards"));
  find(".adj-cards").dataset.many = String(rulings.length + one.cards.length > 4);
  find(".adj-cards").scrollLeft = 0;
  find(".adj-best").replaceChildren(...one.cards.slice(0, LETTERS.length).map((given) => letterButton(given.letter)));
  for (const node of element.querySelectorAll(".adj-split")) node.hidden = !one.split;
}

function showPicture(one) {
  const image = find(".adj-img");
  const missing = find(".adj-nopicture");
  picture.reset();
  image.hidden = !one.picture;
  missing.hidden = Boolean(one.picture);
  missing.textContent = t("picture.none");
  image.onerror = () => {
    image.hidden = true;
    missing.hidden = false;
    missing.textContent = t("picture.broken");
  };
  if (one.picture) image.src = one.picture;
  else image.removeAttribute("src");
}

function showMeta(one) {
  const parts = [one.date && t("claimed", { date: claimedDate(one.date) }), one.place, one.source].filter(Boolean);
  find(".adj-meta").replaceChildren(...parts.flatMap((part, at) => (at ? [" · ", outside(part, "", "bdi")] : [outside(part, "", "bdi")])));
}

function showEvidence(evidence) {
  const box = find(".adj-evidence");
  box.hidden = evidence.length === 0;
  box.open = false;
  box.querySelector("summary").textContent = t("evidence", { count: evidence.length });
  box.querySelector("ol").replaceChildren(
    ...evidence.map((given) => {
      const line = make("li");
      const title = given.title || given.url || t("evidence.untitled");
      const isWeb = /^https?:\/\//i.test(given.url || "");
      const named = outside(title, "adj-evidence-title", isWeb ? "a" : "b");
      if (isWeb) Object.assign(named, { href: given.url, target: "_blank", rel: "noopener noreferrer" });
      const about = [given.date && claimedDate(given.date), t("evidence." + given.kind)].filter(Boolean).join(" · ");
      line.append(named, " ", make("span", "", about), outside(given.text, "", "p"));
      return line;
    }),
  );
}

function elementWords(elements) {
  return listWords(elements.map((one) => t("element." + one)));
}

function card(given, segments) {
  const node = make("li", "adj-card");
  node.dataset.letter = given.letter;
  const head = make("header");
  head.append(make("b", "adj-letter", given.letter), chip(given.verdict, given.confidence));
  if (given.scripted) head.append(make("span", "adj-scripted", t("scripted")));
  const rationale = make("p", "adj-says-why");
  setMarked(rationale, given.rationale, segments);
  rationale.dir = "auto";
  rationale.tabIndex = 0;
  node.append(head, rationale);
  if (given.elements.length) node.append(make("p", "adj-relies", t("relies", { elements: elementWords(given.elements) })));
  return node;
}

function rulingCard(given, at) {
  const node = make("li", "adj-card adj-ruling");
  const head = make("header");
  head.append(make("b", "adj-letter", t("person", { number: at + 1 })), chip(given.verdict));
  const about = [given.best && t("person.best", { letter: given.best }), elementWords(given.elements), t("person.seconds", { seconds: given.seconds })];
  const rationale = outside(given.rationale, "adj-says-why", "p");
  rationale.tabIndex = 0;
  if (given.note) rationale.append("\n", outside(t("note") + ": " + given.note, "adj-soft"));
  node.append(head, rationale, make("p", "adj-relies", about.filter(Boolean).join(" · ")));
  return node;
}

function letterButton(letter) {
  const node = toggle(letter, () => pickBest(letter));
  node.dataset.letter = letter;
  node.setAttribute("aria-keyshortcuts", letter);
  node.setAttribute("aria-label", t("best.one", { letter }));
  return node;
}

// ---- what was said of it so far ----

function showDraft(draft) {
  const press = (node, isPressed) => node.setAttribute("aria-pressed", String(isPressed));
  for (const node of element.querySelectorAll(".adj-best button")) press(node, node.dataset.letter === draft.best);
  for (const node of element.querySelectorAll(".adj-card")) node.dataset.best = String(node.dataset.letter === draft.best);
  for (const node of element.querySelectorAll(".adj-reasons button")) press(node, draft.elements.includes(node.dataset.reason));
  for (const node of element.querySelectorAll(".adj-causes button")) press(node, node.dataset.cause === draft.cause);
  press(find("[data-action=flag]"), draft.flagged);
  find("[data-action=rationale]").setAttribute("aria-expanded", String(draft.rationale !== null));
  find(".adj-own").hidden = draft.rationale === null;
  if (find(".adj-rationale").value !== (draft.rationale || "")) find(".adj-rationale").value = draft.rationale || "";
  if (find(".adj-note").value !== draft.note) find(".adj-note").value = draft.note;
}

// What stands around the case: the rulings just made, progress, the empty desk, the keys, the guidelines.

function say(text, tone) {
  const line = find(".adj-says");
  line.textContent = text;
  line.dataset.tone = tone || "";
}

function notice(text) {
  find(".adj-notice").hidden = !text;
  find(".adj-notice").textContent = text || "";
}

// ---- the rulings just made, and those sent back ----

function showRecent(rulings, returned) {
  const items = [...returned.map(returnedItem), ...rulings.map(ruledItem)];
  if (!items.length) items.push(make("li", "adj-hint", t("recent.hint")));
  const focused = document.activeElement.dataset.strip;
  find(".adj-recent").replaceChildren(...items);
  const same = focused && find(`.adj-recent [data-strip="${focused}"]`);
  if (same) same.focus({ preventScroll: true });
}

function stripItem(ruling, label, press) {
  const item = make("li");
  const button = make("button");
  button.type = "button";
  button.dataset.strip = ruling;
  button.setAttribute("aria-label", label);
  button.addEventListener("click", press);
  item.append(button);
  return [item, button];
}

function ruledItem(one) {
  const verdict = t("verdict." + one.verdict);
  const [item, button] = stripItem(one.id, t("recent.open", { id: one.id, verdict }) + ". " + reveal(one), () => reopen(one.id));
  if (one.picture) {
    const thumb = make("img");
    Object.assign(thumb, { src: one.picture, alt: "", loading: "lazy" });
    button.append(thumb);
  }
  const words = make("span", "adj-ruled");
  const former = one.former && one.former !== one.verdict ? make("span", "adj-former", t("recent.former", { verdict: t("verdict." + one.former) })) : "";
  const head = make("span", "adj-ruled-head");
  head.append(chip(one.verdict), former);
  words.append(head, make("span", "adj-reveal", reveal(one)));
  button.append(words);
  item.title = [one.caption, ...one.teachers.map((said) => said.letter + ": " + said.name + ", " + t("verdict." + said.verdict))].join("\n");
  return item;
}

// Who said the same as the person ruled, and how colleagues ruled.
function reveal(one) {
  const same = one.teachers.filter((said) => said.verdict === one.verdict).map((said) => said.letter + " (" + said.name + ")");
  const whole = same.length === one.teachers.length;
  const teachers = !same.length ? t("so.none") : whole ? t("so.all") : t("so.some", { count: same.length, names: listWords(same) });
  if (!one.colleagues.length) return teachers;
  const names = listWords(one.colleagues.map((said) => said.name + ": " + t("verdict." + said.verdict)));
  return teachers + " · " + t("colleagues", { names });
}

function returnedItem(one) {
  const [item, button] = stripItem(one.id, t("returned"), () => reopen(one.id, returnedWords(one)));
  item.className = "adj-returned";
  button.append(make("kbd", "", "K"), make("span", "", t("returned")));
  item.title = one.note;
  return item;
}

const returnedWords = (one) => (one.note ? t("returned.note", { note: one.note }) : t("returned.plain"));

// ---- the empty desk ----

function showEmpty(empty, returned) {
  const way = {
    drawing: () => t("empty.drawing.way", { done: empty.done, total: empty.total }),
    none: () => t("empty.none.way"),
    closed: () => empty.reason,
    unreachable: () => t("empty.unreachable.way"),
    done: () =>
      [
        t("empty.done.way"),
        empty.second && t("empty.done.second", { count: empty.second }),
        empty.split && t("empty.done.split", { count: empty.split }),
        t("empty.done.distil"),
      ].filter(Boolean).join(" "),
  }[empty.why];
  find(".adj-empty-title").textContent = t("empty." + empty.why);
  find(".adj-empty-way").textContent = way();
  const bar = find(".adj-empty-bar");
  bar.hidden = !empty.total;
  if (empty.total) Object.assign(bar, { max: empty.total, value: empty.done });
  find("[data-action=again]").hidden = empty.why !== "done";
  find("[data-action=toDistil]").hidden = empty.why !== "done";
  find("[data-action=toCases]").hidden = empty.why !== "none";
  const back = find("[data-action=returned]");
  back.hidden = !returned.length;
  if (returned.length) back.textContent = t("empty.returned", { count: returned.length });
}

function openTab(name) {
  const labels = Object.values(TEXTS).map((texts) => texts["tab." + name]); // they are in the browser's language
  const tab = [...document.querySelectorAll("#desk-tabs button[role=tab]")].find((node) => labels.includes(node.textContent.trim()));
  if (tab) tab.click();
}

// ---- how far the desk is ----

const ENOUGH = 10; // rulings before a rate says anything

function showProgress(progress) {
  const place = document.getElementById("desk-progress");
  if (!place) return;
  const part = (name, values, titled) => {
    const node = make("span", "desk-" + name, t("progress." + name, values));
    if (titled) node.title = t("progress." + name + ".title", titled);
    return node;
  };
  const parts = [part("left", { count: progress.left }), part("today", { count: progress.today })];
  if (progress.an_hour && progress.today >= ENOUGH) parts.push(part("pace", { count: Math.round(progress.an_hour) }, {}));
  parts.push(
    part("budget", { share: percent(progress.share, 1) }, { rulings: progress.rulings, cases: progress.training_cases, budget: percent(progress.budget, 1) }),
  );
  if (progress.shared >= ENOUGH) {
    const share = percent(progress.agreed / progress.shared);
    parts.push(part("agreed", { share }, { count: progress.shared, agreed: progress.agreed }));
  }
  place.replaceChildren(...parts);
  place.lang = LANGUAGE;
}

// ---- the sheet of keys ----

const SHEET = [
  ["1", "verdict.in_context"], ["2", "verdict.out_of_context"], ["3", "verdict.unsure"],
  ["A B C D", "help.best"], ["R", "help.rationale"], ["⇧ P L T E O H", "help.reason"], ["⇧ 1–5", "help.cause"],
  ["N", "help.note"], ["S", "help.skip"], ["F", "help.flag"], ["Z", "help.undo"], ["K", "help.back"],
  ["M", "help.marks"], ["E", "help.evidence"], ["← →", "help.history"], ["+ − 0", "help.picture"], ["T", "help.turn"],
  ["L", "help.light"], ["G", "help.guidelines"], ["Esc", "help.escape"],
];
find(".adj-help dl").replaceChildren(
  ...SHEET.map(([keys, name]) => {
    const line = make("div");
    const names = make("dt");
    names.append(...keys.split(" ").map((one) => make("kbd", "", one)));
    line.append(names, make("dd", "", t(name)));
    return line;
  }),
);
find(".adj-language").replaceChildren(
  ...Object.keys(TEXTS).map((one) => {
    const option = make("option", "", TEXTS[one].language);
    Object.assign(option, { value: one, selected: one === LANGUAGE });
    return option;
  }),
);
find(".adj-language").addEventListener("change", (event) => {
  remember(PICKED, null, event.target.value);
  location.reload();
});

// ---- the guidelines ----

const UNSAVED = "ooc-desk:guidelines"; // what an editor has written and not saved

let guidelines = null; // as the desk last sent them

const BUILT = { p: [], ul: [], ol: [], li: [], blockquote: [], strong: [], em: [], table: [], thead: [], tbody: [], tr: [], th: [], td: [], hr: [], br: [], code: [], pre: [], h2: [], h3: [], h4: [], a: ["href"], img: ["src", "alt"] };

function built(node) {
  if (typeof node === "string") return node;
  const [tag, attributes, inside] = node;
  if (!(tag in BUILT)) return inside.map(built).join("");
  const made = make(tag);
  for (const name of BUILT[tag]) made.setAttribute(name, attributes[name]);
  if (tag === "a") Object.assign(made, { target: "_blank", rel: "noopener noreferrer" });
  made.append(...inside.map(built));
  return made;
}

async function openGuidelines() {
  const dialog = find(".adj-guidelines");
  if (dialog.open) return dialog.close();
  const answer = await ask("guidelines", { lang: LANGUAGE }).catch(() => null);
  if (!answer) return say(t("says.unreachable"), "waiting");
  if (!answer.ok) return say(spoken(answer.says), "refused");
  guidelines = answer;
  const date = answer.since && new Date(answer.since).toLocaleDateString(LOCALE, { dateStyle: "long" });
  find(".adj-guidelines-version").textContent = answer.version ? t("guidelines.version", { version: answer.version, date }) : t("guidelines.builtin");
  find(".adj-guidelines-text").replaceChildren(...answer.nodes.map(built));
  editGuidelines(false);
  find(".adj-guidelines-says").textContent = "";
  if (!dialog.open) dialog.showModal();
}

function editGuidelines(isEdited) {
  find(".adj-guidelines-text").hidden = isEdited;
  find(".adj-guidelines-edit").hidden = !isEdited;
  find("[data-action=editGuidelines]").hidden = isEdited || guidelines.text === null;
  find("[data-action=saveGuidelines]").hidden = find("[data-action=leaveGuidelines]").hidden = !isEdited;
  if (!isEdited) return;
  find(".adj-guidelines-edit").value = recall(UNSAVED) || guidelines.text; // what was being written is not lost
  find(".adj-guidelines-edit").focus();
}

function leaveGuidelines() {
  remember(UNSAVED, null);
  editGuidelines(false);
}

async function saveGuidelines() {
  const answer = await ask("save_guidelines", { text: find(".adj-guidelines-edit").value, after: guidelines.version }).catch(() => null);
  find(".adj-guidelines-says").textContent = answer ? spoken(answer.says) : t("says.unreachable");
  if (!answer || !answer.ok) return;
  remember(UNSAVED, null);
  find(".adj-guidelines").close();
  say(spoken(answer.says), "saved");
}

// What the Cases tab lists: rows, chips of what is looked for, the choices of the filters, empty states.
//
// Runs first, in one function with `cases_case.js`, `cases_work.js` and `cases.js`, as the `js_on_load`
// of one gr.HTML component whose root is `element`. Whatever comes from the desk is set as text.

const VERDICT_WORDS = { in_context: "in context", out_of_context: "out of context", unsure: "can't tell" };
const find = (selector) => element.querySelector(selector);
const root = find(".cases");
const controls = find(".cases-bar");

// ---- small builders: text in, elements out ----

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = text;
  return node;
}

function pressable(text, press, className) {
  const node = make("button", className, text);
  node.type = "button";
  node.addEventListener("click", press);
  return node;
}

function outside(text, className, tag) {
  const node = make(tag || "span", className, text);
  node.dir = "auto"; // a caption or name may be written from right to left
  return node;
}

function chip(verdict, confidence) {
  const node = make("span", "chip " + verdict);
  node.append(make("i", "shape " + verdict), make("span", "", VERDICT_WORDS[verdict] || verdict));
  if (typeof confidence === "number") node.append(make("b", "", Math.round(confidence * 100) + " %"));
  return node;
}

// One small shape per teacher: the words are in the title, and for those who cannot see it, in its name.
function pattern(says) {
  const node = make("span", "cases-pattern");
  const words = says.map(([who, verdict]) => (who ? who + ": " : "") + VERDICT_WORDS[verdict]).join("\n");
  node.title = words;
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", says.length ? "Teachers say " + words.replaceAll("\n", ", ") : "No teacher says anything");
  node.append(...says.map(([, verdict]) => make("i", "shape " + verdict)));
  return node;
}

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];
const MONTH = 2592000; // seconds; what is longer ago is told by its date

function when(iso) {
  const at = new Date(iso);
  const node = make("time", "");
  node.dateTime = iso;
  node.title = at.toLocaleString("en-GB", { dateStyle: "long", timeStyle: "medium" });
  const seconds = (Date.now() - at) / 1000;
  const unit = UNITS.find(([, length]) => Math.abs(seconds) >= length);
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  if (Math.abs(seconds) > MONTH) node.textContent = at.toLocaleDateString("en-GB", { dateStyle: "medium" });
  else node.textContent = unit ? words.format(-Math.round(seconds / unit[1]), unit[0]) : "just now";
  return node;
}

function say(text, tone) {
  const line = find(".cases-says");
  line.textContent = text || "";
  line.dataset.tone = tone || "";
}

// ---- the list ----

function thumb(one) {
  const box = make("span", "cases-thumb");
  if (!one.thumb) {
    box.append(make("span", "", "no picture"));
    return box;
  }
  const image = make("img");
  Object.assign(image, { alt: "", loading: "lazy", decoding: "async", draggable: false });
  image.addEventListener("error", () => box.replaceChildren(make("span", "", "cannot be shown")));
  image.src = one.thumb;
  box.append(image);
  return box;
}

function row(one) {
  const link = make("a", "cases-row");
  link.href = linkTo(one.id);
  link.dataset.id = one.id;
  const words = make("span", "cases-words");
  const line = make("span", "cases-line-small");
  if (one.verdict) line.append(chip(one.verdict));
  line.append(make("span", "cases-state", one.state));
  if (one.says.length) line.append(pattern(one.says));
  const meta = make("span", "cases-meta");
  for (const said of [one.why, one.source, one.date]) if (said) meta.append(outside(said, "", "bdi"), " · ");
  meta.append(when(one.came));
  words.append(outside(one.caption, "cases-caption"), line, meta);
  link.append(thumb(one), words);
  return link;
}

function showRows(rows) {
  find(".cases-list").replaceChildren(
    ...rows.map((one) => {
      const item = make("li");
      item.append(row(one));
      return item;
    }),
  );
  markOpen();
}

const links = () => [...element.querySelectorAll(".cases-list .cases-row")];

function markOpen() {
  for (const link of links()) {
    if (Number(link.dataset.id) === openId) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

function showFound(answer, rows) {
  showRows(rows);
  root.dataset.state = rows.length ? "list" : "empty";
  find("[data-action=older]").disabled = !answer.older;
  find("[data-action=newer]").disabled = !answer.newer;
  const hidden = find(".cases-hidden");
  hidden.hidden = !answer.hidden;
  hidden.textContent = answer.hidden || "";
  const cut = find(".cases-cut");
  cut.hidden = !answer.cut;
  const none = rows.length ? "" : " and found none";
  cut.querySelector("span").textContent = answer.cut ? "Looked through " + answer.cut + none + "; there may be more." : "";
  showEmpty(rows.length || answer.cut || answer.hidden ? null : emptyState());
}

function emptyState() {
  if (offers && offers.total === 0)
    return offers.may_edit
      ? { title: "This desk has no cases yet", way: "Bring a data set in, or a file of your own.", button: "Import cases", press: () => showWork("import") }
      : { title: "This desk has no cases yet", way: "An editor of the desk imports them." };
  if (Object.keys(wanted).length === 0 && from) return { title: "There are no older cases", way: "", button: "To the newest", press: () => look({}, true) };
  const way = wanted.q ? "Every word has to stand in the caption, the place or the source of one case." : "No case is all of this at once.";
  return { title: "No case is found", way, button: "Clear the search", press: clear };
}

function showEmpty(empty) {
  const box = find(".cases-empty");
  box.hidden = !empty;
  if (!empty) return;
  box.querySelector(".cases-empty-title").textContent = empty.title;
  box.querySelector(".cases-empty-way").textContent = empty.way;
  const button = box.querySelector("button");
  button.hidden = !empty.button;
  button.textContent = empty.button || "";
  button.onclick = empty.press || null;
}

// ---- what is looked for ----

function fillChoices() {
  fill("state", offers.states.map(([value, words, cases]) => [value, words + " (" + cases + ")"]));
  fill("source", offers.sources.map(([name, cases]) => [name, name + " (" + cases + ")"]));
  fill("teacher", offers.teachers.map((name) => [name, name]));
  fill("annotator", offers.annotators.map((name) => [name, "ruled on by " + name]));
  find(".cases-inout").hidden = !offers.may_edit;
}

function fill(name, options) {
  const select = controls.elements[name];
  const kept = select.value;
  select.replaceChildren(
    select.options[0],
    ...options.map(([value, words]) => {
      const option = make("option", "", words);
      option.value = value;
      return option;
    }),
  );
  set(name, kept || wanted[name] || "");
}

// A value that the desk does not offer, from an old link, is shown all the same.
function set(name, value) {
  const control = controls.elements[name];
  if (control.type === "checkbox") control.checked = Boolean(value);
  else {
    if (control.tagName === "SELECT" && value && ![...control.options].some((one) => one.value === value)) {
      const option = make("option", "", value);
      option.value = value;
      control.append(option);
    }
    if (control.value.trim() !== value) control.value = value; // a blank just typed stays
  }
  control.classList.toggle("on", Boolean(value));
}

function chipWords(name, value) {
  const control = controls.elements[name];
  if (name === "q") return "“" + value + "”";
  if (name === "flagged") return "flagged";
  if (name === "since" || name === "until") return "came " + name + " " + value;
  return [...control.options].find((one) => one.value === value).textContent.replace(/ \([\d,]+\)$/, "");
}

function showChips() {
  for (const name of FILTERS) set(name, wanted[name] || "");
  const chips = FILTERS.filter((name) => wanted[name]).map((name) => {
    const words = chipWords(name, wanted[name]);
    const button = pressable(words, () => change(name, ""), "cases-chip");
    button.dir = "auto";
    button.setAttribute("aria-label", "Take away: " + words);
    return button;
  });
  if (chips.length) chips.push(pressable("clear", clear, "cases-clear"));
  find(".cases-chips").replaceChildren(...chips);
}

// Imports and exports of the Cases tab: forms, the first rows of a file, what goes on, what came of it.

const bench = find(".cases-work");
const POLL = 700; // ms between two looks at what goes on
let working = null; // what the desk last said goes on
let polling = 0;

function showWork(kind) {
  const isOpen = bench.dataset.kind === kind && !bench.hidden;
  hideWork();
  if (isOpen) return;
  bench.dataset.kind = kind;
  bench.hidden = false;
  root.dataset.work = kind;
  const close = pressable("close", hideWork);
  close.prepend(make("kbd", "", "Esc"));
  const head = make("header", "cases-head");
  head.append(heading(kind === "import" ? "Import cases" : "Export cases"), close);
  bench.replaceChildren(head, kind === "import" ? importForm() : exportForm(), make("div", "cases-outcome"));
  find("[data-action=" + kind + "]").setAttribute("aria-expanded", "true");
  head.firstChild.focus();
  watch();
}

function hideWork() {
  bench.hidden = true;
  delete root.dataset.work;
  for (const node of element.querySelectorAll(".cases-inout button")) node.setAttribute("aria-expanded", "false");
}

// ---- forms ----

function field(words, control, hint) {
  const label = make("label", "cases-field");
  label.append(make("span", "", words), control);
  if (hint) label.append(make("small", "", hint));
  return label;
}

function input(name, placeholder) {
  const node = make("input");
  Object.assign(node, { name, type: "text", autocomplete: "off", spellcheck: false, placeholder: placeholder || "" });
  return node;
}

function choice(name, options) {
  const node = make("select");
  node.name = name;
  for (const [value, words] of options) {
    const option = make("option", "", words);
    option.value = value;
    node.append(option);
  }
  return node;
}

const SPLITS = [["train", "train"], ["validation", "validation"], ["test", "test"]];

function importForm() {
  const form = make("form", "cases-form");
  const formats = choice("format", offers.imports.map((one) => [one.name, one.name + ": " + one.about]));
  const path = input("path", "/data/cases.jsonl");
  const upload = make("input");
  upload.type = "file";
  const options = make("div", "cases-options");
  const showOptions = () => {
    const chosen = offers.imports.find((one) => one.name === formats.value);
    options.replaceChildren(
      ...chosen.options.map((one) => {
        const control = one.choices.length ? choice(one.name, one.choices.map((word) => [word, word.replaceAll("_", " ")])) : input(one.name);
        control.dataset.option = "true";
        return field(one.name.replaceAll("-", " "), control, one.help);
      }),
    );
  };
  formats.addEventListener("change", showOptions);
  upload.addEventListener("change", () => takeUpload(upload.files[0], path));
  form.append(
    field("format", formats),
    field("file or folder on the desk's machine", path, "for hf also the id of a data set on the hub"),
    field("or a file from here, up to 40 MB", upload),
    field("folder that picture paths start from", input("images"), "empty: where the format says, mostly beside the file"),
    field("split of cases whose file names none", choice("split", [["", "as the format says"], ...SPLITS])),
    field("name of the data set", input("dataset"), "empty: the format's own, else the file's"),
    options,
  );
  const deeds = make("p", "cases-deeds");
  const begin = pressable("Import all", () => start(importAsked(form)), "cases-main");
  begin.disabled = true; // until the first rows have been looked at
  const look = make("button", "", "Look at the first rows");
  look.type = "submit";
  deeds.append(look, begin);
  form.append(deeds, make("div", "cases-preview"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    preview(form, begin);
  });
  form.addEventListener("input", () => (begin.disabled = true));
  showOptions();
  return form;
}

function importAsked(form) {
  const asked = { kind: "import", options: {} };
  for (const control of form.querySelectorAll("input:not([type=file]), select")) {
    if (control.dataset.option) asked.options[control.name] = control.value;
    else asked[control.name] = control.value;
  }
  return asked;
}

async function takeUpload(file, path) {
  if (!file) return;
  say("Taking " + file.name + " ...");
  try {
    const taken = await upload(file);
    path.value = taken.path;
    path.dispatchEvent(new Event("input", { bubbles: true }));
    say(file.name + " is on the desk's machine now.", "saved");
  } catch {
    say(file.name + " was not taken: the desk takes 40 MB at most this way; give the path of a larger one.", "refused");
  }
}

async function preview(form, begin) {
  const place = form.querySelector(".cases-preview");
  place.replaceChildren(make("p", "cases-soft", "Reading the first rows ..."));
  const answer = await ask("preview", importAsked(form), 120000).catch(() => null);
  begin.disabled = !answer || !answer.ok;
  if (!answer) return place.replaceChildren(make("p", "notice warning", "The desk does not answer; nothing was changed."));
  if (!answer.ok) return place.replaceChildren(make("p", "notice warning", answer.says));
  const list = make("ol", "cases-rows");
  list.append(...answer.rows.map((one) => firstRow(one, answer.unit)));
  const polarity = make("p", "notice", answer.polarity.length ? "" : "This format has no verdicts of its own.");
  answer.polarity.forEach(([name, where], at) => polarity.append(at ? make("br") : "", make("b", "", name), ": ", coded(where)));
  place.replaceChildren(
    make("h3", "", "The first rows, as cases of the data set “" + answer.dataset + "”"),
    polarity,
    answer.rows.length ? list : make("p", "notice warning", "There is no row in it."),
    fieldsFrom(answer),
  );
}

// `column` as code, the rest as it is.
function coded(text) {
  const node = make("span");
  text.split("`").forEach((piece, at) => node.append(at % 2 ? outside(piece, "", "code") : piece));
  return node;
}

function fieldsFrom(answer) {
  const box = make("details", "cases-mapping");
  const list = make("dl");
  for (const [name, where] of [...answer.mapping, ["picture paths", "start from " + answer.images]]) {
    const pair = make("div");
    const from = make("dd");
    from.append(coded(where));
    pair.append(make("dt", "", name), from);
    list.append(pair);
  }
  box.append(make("summary", "", "where the other fields come from"), list);
  box.open = true;
  return box;
}

function firstRow(one, unit) {
  const item = make("li", one.caption ? "" : "bad");
  item.append(make("span", "cases-soft cases-number", unit + " " + one.line));
  const words = make("div");
  item.append(words);
  if (!one.caption) {
    words.append(make("p", "", one.bad ? "bad: " + one.bad : "left out: " + one.left_out));
    return item;
  }
  const about = make("p", "cases-line-small");
  about.append(one.gold ? chip(one.gold) : make("span", "cases-soft", "no gold verdict"), make("span", "cases-state", one.split));
  if (one.opinions.length) about.append(pattern(one.opinions));
  about.append(...[one.picture, one.meta, one.id].filter(Boolean).map((said) => outside(said, "cases-soft")));
  words.append(outside(one.caption, "cases-caption", "p"), about);
  return item;
}

function exportForm() {
  const form = make("form", "cases-form cases-out-form");
  const formats = make("fieldset", "cases-formats");
  formats.append(make("legend", "", "format"));
  offers.exports.forEach((one, at) => {
    const radio = make("input");
    Object.assign(radio, { type: "radio", name: "format", value: one.name, checked: at === 0 });
    const label = make("label");
    label.append(radio, make("b", "", one.name), make("span", "cases-soft", one.about));
    formats.append(label);
  });
  const split = choice("split", [["", "every split"], ...SPLITS]);
  const settled = make("input");
  Object.assign(settled, { type: "checkbox", name: "settled" });
  const tick = make("label", "cases-tick");
  tick.append(settled, " settled cases only");
  const note = make("small", "cases-soft", "");
  const hold = () => {
    const chosen = offers.exports.find((one) => one.name === form.elements.format.value);
    split.disabled = chosen.for_training;
    settled.disabled = chosen.settled_only;
    if (chosen.for_training) split.value = "";
    note.textContent = chosen.for_training ? "It holds training cases with a picture only." : chosen.settled_only ? "It holds settled cases only." : "";
  };
  const deeds = make("p", "cases-deeds");
  const begin = make("button", "cases-main", "Export");
  begin.type = "submit";
  deeds.append(begin);
  form.append(formats, field("split", split), tick, note, deeds);
  form.addEventListener("change", hold);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    start({ kind: "export", format: form.elements.format.value, split: split.value, settled: settled.checked });
  });
  hold();
  return form;
}

// ---- what goes on ----

const start = (asked) => tellWork(ask("begin", asked));
const end = (asked) => tellWork(ask("end", asked));

async function tellWork(asking) {
  try {
    const answer = await asking;
    if (!answer.ok) return say(answer.says, "refused");
    say("");
    showWorking(answer);
  } catch (problem) {
    if (!(problem instanceof Unreachable)) throw problem;
    say(NO_ANSWER, "waiting");
  }
}

async function watch() {
  clearTimeout(polling);
  if (!offers || !offers.may_edit || !element.isConnected) return;
  const answer = await ask("work", {}).catch(() => null);
  if (answer && answer.ok) showWorking(answer);
  else polling = setTimeout(watch, 4 * POLL);
}

function showWorking(answer) {
  const wasGoing = isGoing(working);
  working = answer.work;
  clearTimeout(polling);
  if (isGoing(working)) polling = setTimeout(watch, POLL);
  else if (wasGoing && working.kind === "import") refresh();
  const going = find(".cases-going");
  going.hidden = !isGoing(working);
  if (isGoing(working)) going.textContent = working.title + ": " + working.words;
  const place = bench.querySelector(".cases-outcome");
  if (place) place.replaceChildren(...[working && outcome(working), earlier(answer.exports)].filter(Boolean));
}

const isGoing = (one) => Boolean(one) && (one.status === "running" || one.status === "stopping");

function outcome(one) {
  const box = make("section", "cases-result");
  const head = make("p", "cases-who");
  head.append(make("b", "", one.title), make("span", "status " + one.status, one.status), make("span", "cases-soft", one.words));
  box.append(head);
  if (isGoing(one)) {
    const bar = make("progress");
    bar.setAttribute("aria-label", one.title);
    if (one.share) Object.assign(bar, { max: 1, value: one.share });
    const stop = pressable("Stop", () => end({}));
    stop.disabled = one.status === "stopping";
    const more = make("p", "cases-deeds");
    more.append(stop, make("small", "cases-soft", one.status === "stopping" ? "It ends after the batch it is in." : "It goes on when you leave this page."));
    box.append(bar, more);
    return box;
  }
  box.append(make("p", one.status === "failed" ? "notice warning" : "notice", one.says));
  const facts = make("ul", "facts");
  for (const [figure, what] of one.facts) {
    const item = make("li");
    item.append(make("b", "", figure), " " + what);
    facts.append(item);
  }
  const lines = make("ul", "cases-lines");
  for (const words of one.lines) {
    const item = make("li");
    item.append(coded(words));
    lines.append(item);
  }
  box.append(facts, lines, ...one.links.map(([words, link]) => download(words, link)));
  box.append(pressable("Put away", () => end({ forget: true })));
  return box;
}

function download(words, link) {
  const node = make("a", "cases-download", words);
  Object.assign(node, { href: link, download: "" });
  return node;
}

function earlier(exports) {
  if (bench.dataset.kind !== "export" || !exports.length) return null;
  const box = make("section", "cases-earlier");
  box.append(make("h3", "", "Exports on the desk's machine"));
  const list = make("ul");
  for (const one of exports) {
    const item = make("li");
    const remove = pressable("remove", () => end({ remove: one.name }));
    remove.setAttribute("aria-label", "Remove " + one.name);
    const about = make("span", "cases-soft", one.size + " · ");
    about.append(when(new Date(one.at * 1000).toISOString()));
    item.append(download(one.name, one.link), about, remove);
    list.append(item);
  }
  box.append(list);
  return box;
}

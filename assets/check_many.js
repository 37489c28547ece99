// Many pictures at once, on the Check tab: sends files, asks what goes on, shows what the desk draws.
//
// `server` has the handlers of ooc_app/check_many.py. What they draw is escaped there; what is pressed
// says by its data- attributes what it asks for.

const POLL = 800; // ms between two looks at what goes on
const PATIENCE = 30000; // ms the desk may take to answer before it counts as unreachable
const NO_ANSWER = "The desk does not answer. Is it still running?";
const box = element.querySelector(".many");
const form = box.querySelector("form");
const parts = Object.fromEntries([...box.querySelectorAll("[data-part]")].map((node) => [node.dataset.part, node]));

let wanted = { batch: null, order: "number", descending: false, only: "all", page: 0 };
let polling = 0;
let wasGoing = false;
let isSending = false;

async function ask(name, payload) {
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE));
  const answer = await Promise.race([server[name + "_"](payload), late]).catch(() => null);
  return answer || { ok: false, says: NO_ANSWER };
}

function say(words) {
  box.querySelector(".many-says").textContent = words;
}

// ---- showing ----

async function show() {
  clearTimeout(polling);
  if (!element.isConnected) return;
  const answer = await ask("show", wanted);
  if (!answer.ok) {
    say(answer.says);
    if (wanted.batch) wanted.batch = null;
    else polling = setTimeout(show, 4 * POLL);
    return;
  }
  for (const [name, html] of Object.entries(answer.parts)) draw(parts[name], html);
  if (answer.going) box.open = true;
  else if (wasGoing) say("The batch has ended.");
  wasGoing = answer.going;
  if (answer.going) polling = setTimeout(show, POLL);
}

// Draw anew only what has changed, and leave the keyboard where it was.
function draw(node, html) {
  if (node.drawn === html) return;
  const held = node.contains(document.activeElement) ? address(document.activeElement) : null;
  const scrolled = node.querySelector(".many-scroll");
  const left = scrolled ? scrolled.scrollLeft : 0;
  node.innerHTML = node.drawn = html;
  if (scrolled && node.querySelector(".many-scroll")) node.querySelector(".many-scroll").scrollLeft = left;
  const again = held && node.querySelector(held);
  if (again) again.focus({ preventScroll: true });
}

function address(node) {
  for (const name of ["deed", "order", "only", "page", "batch"])
    if (node.dataset[name] !== undefined) return "[data-" + name + "=" + CSS.escape(node.dataset[name]) + "]";
  if (node.matches(".many-scroll")) return ".many-scroll";
  return node.getAttribute("href") ? "a[href=" + JSON.stringify(node.getAttribute("href")) + "]" : null;
}

// ---- what is pressed ----

const SORTED_DOWN_FIRST = ["probability"];

box.addEventListener("click", (event) => {
  const node = event.target.closest("button");
  if (!node || node.type === "submit") return;
  const { order, only, page, batch, deed } = node.dataset;
  if (order) {
    const isSame = order === wanted.order;
    look({ order, descending: isSame ? !wanted.descending : SORTED_DOWN_FIRST.includes(order), page: 0 });
  } else if (only) look({ only, page: 0 });
  else if (page) look({ page: Number(page) });
  else if (batch) look({ batch, only: "all", page: 0 });
  else if (deed) act(deed);
});

function look(change) {
  wanted = { ...wanted, ...change };
  return show();
}

async function act(deed) {
  const answer = await ask(deed, { batch: shownBatch() });
  say(answer.ok ? { delete: "The batch is deleted.", stop: "" , resume: "" }[deed] : answer.says);
  if (answer.ok && deed === "delete") wanted.batch = null;
  return show();
}

const shownBatch = () => {
  const link = parts.head.querySelector("a[download]");
  return link ? link.getAttribute("href").split("/").at(-2) : null;
};

// ---- sending ----

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const files = [...form.elements.files.files];
  if (!files.length) return say("Choose files first: a zip archive, or a table with its pictures.");
  if (isSending) return;
  isSending = true;
  form.querySelector("[type=submit]").disabled = true;
  try {
    await send(files);
  } catch (problem) {
    say(problem.message || NO_ANSWER);
  }
  isSending = false;
  form.querySelector("[type=submit]").disabled = false;
  await show();
});

async function send(files) {
  const place = allowed(await ask("open", {}));
  for (const [at, file] of files.entries()) {
    say("Sending " + (at + 1) + " of " + files.length + ": " + file.name);
    const address = "/desk/batches/" + place.token + "/files/" + (at + 1) + "?name=" + encodeURIComponent(file.name);
    const answer = await fetch(address, { method: "POST", body: file }).catch(() => null);
    if (!answer) throw new Error(NO_ANSWER);
    if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail || NO_ANSWER);
  }
  allowed(await ask("start", { token: place.token, verdicts_only: form.elements.verdicts_only.checked }));
  wanted = { ...wanted, batch: null, only: "all", page: 0 };
  wasGoing = true; // so that an end that comes before the first look is told
  form.reset();
  say("The batch has begun.");
}

function allowed(answer) {
  if (!answer.ok) throw new Error(answer.says);
  return answer;
}

box.addEventListener("toggle", () => box.open && show());
show();

// One case on the Cases tab: picture, caption, opinions, rulings, relatives, history.

const panel = find(".cases-case");

function showCase(one) {
  panel.replaceChildren(
    caseHead(one),
    ...[one.blind && make("p", "notice", one.blind)].filter(Boolean),
    caseTop(one),
    part("Teachers", one.opinions.map(opinion), "No teacher has said anything of this case."),
    part("Rulings", one.rulings.map(ruling), one.blind ? "" : "Nobody has ruled on this case."),
    part("Same group or picture", one.relatives.map(relative), ""),
    part("History", one.history.map(happening), ""),
  );
  panel.hidden = false;
  panel.scrollTop = 0;
  root.dataset.open = "true";
}

function showNoCase(says) {
  const head = make("header", "cases-head");
  head.append(heading("No case"), closeButton());
  panel.replaceChildren(head, make("p", "notice", says));
  panel.hidden = false;
  root.dataset.open = "true";
}

function hideCase() {
  panel.hidden = true;
  panel.replaceChildren();
  delete root.dataset.open;
}

function heading(text) {
  const node = make("h2", "", text);
  node.tabIndex = -1;
  return node;
}

function closeButton() {
  const node = pressable("close", () => close());
  node.prepend(make("kbd", "", "Esc"));
  return node;
}

function caseHead(one) {
  const head = make("header", "cases-head");
  const about = outside([one.dataset, one.external_id, one.split].filter(Boolean).join(" · "), "cases-soft");
  const deeds = make("span", "cases-deeds");
  if (one.may_send) deeds.append(pressable("ask for a ruling", () => confirmSend(one, head)));
  const link = pressable("copy link", copyLink);
  link.prepend(make("kbd", "", "L"));
  deeds.append(link, closeButton());
  head.append(heading("Case " + one.id), about, deeds);
  return head;
}

// Asking cannot be taken back here, so it is said before it is done.
function confirmSend(one, head) {
  if (panel.querySelector(".cases-confirm")) return;
  const box = make("p", "notice cases-confirm");
  const yes = pressable("Ask for a ruling", () => send(one.id));
  box.append("A person will be asked to rule on this case, whatever its teachers say. This cannot be taken back. ", yes);
  box.append(pressable("Leave it", () => box.remove()));
  head.after(box);
  yes.focus();
}

function caseTop(one) {
  const top = make("div", "cases-top");
  const text = make("div", "cases-text");
  text.append(outside(one.caption, "cases-whole-caption", "blockquote"));
  if (one.meta) text.append(outside(one.meta, "cases-soft", "p"));
  text.append(standing(one));
  if (one.note) text.append(outside("Note: " + one.note, "cases-soft", "p"));
  if (one.gold) text.append(line("gold verdict of the data set", chip(one.gold)));
  if (one.url) text.append(line("found at", address(one.url, one.url)));
  if (one.group) text.append(line("group", outside(one.group)));
  if (one.evidence.length) text.append(evidence(one.evidence));
  top.append(picture(one), text);
  return top;
}

function line(words, node) {
  const made = make("p", "cases-soft", words + " ");
  made.append(node);
  return made;
}

function standing(one) {
  const made = make("p", "cases-standing");
  if (one.verdict) made.append(chip(one.verdict));
  made.append(make("span", "cases-state", one.state));
  if (one.waits) {
    const words = "in the queue: " + one.waits.why + (one.waits.holder ? "; " + one.waits.holder + " has it now" : "");
    made.append(make("span", "cases-soft", words));
  }
  return made;
}

function picture(one) {
  const frame = make("figure", "cases-picture");
  if (!one.picture) {
    frame.append(make("figcaption", "", "This case has no picture."));
    return frame;
  }
  const link = make("a");
  Object.assign(link, { href: one.picture, target: "_blank", rel: "noopener" });
  link.setAttribute("aria-label", "Open the picture alone");
  const image = make("img");
  image.alt = "The picture of this case";
  image.addEventListener("error", () => frame.replaceChildren(make("figcaption", "", "The picture of this case cannot be shown.")));
  image.src = one.picture;
  link.append(image);
  frame.append(link);
  return frame;
}

// Only web addresses become links: anything else could be a script.
function address(url, words) {
  if (!/^https?:\/\//i.test(url)) return outside(words);
  const link = outside(words, "cases-out", "a");
  Object.assign(link, { href: url, target: "_blank", rel: "noopener noreferrer nofollow" });
  return link;
}

function evidence(given) {
  const box = make("details", "cases-evidence");
  const list = make("ol");
  for (const one of given) {
    const item = make("li");
    const title = one.title || one.url || "untitled";
    item.append(one.url ? address(one.url, title) : outside(title, "", "b"), make("span", "cases-soft", " " + one.about));
    item.append(outside(one.text, "", "p"));
    list.append(item);
  }
  box.append(make("summary", "", "evidence (" + given.length + ")"), list);
  return box;
}

function part(title, items, none) {
  const made = make("section", "cases-part");
  if (!items.length && !none) return made;
  made.append(make("h3", "", items.length > 1 ? title + " (" + items.length + ")" : title));
  if (!items.length) made.append(make("p", "cases-soft", none));
  const list = make("ol");
  list.append(...items);
  if (items.length) made.append(list);
  return made;
}

function opinion(one) {
  const item = make("li", "cases-opinion");
  const who = make("p", "cases-who");
  who.append(outside(one.who, "", "b"), chip(one.verdict, one.confidence));
  if (one.scripted) who.append(make("span", "cases-tag", "scripted"));
  if (one.elements.length) who.append(make("span", "cases-soft", one.elements.join(", ")));
  item.append(who, outside(one.rationale || "gives no reasons", one.rationale ? "cases-why" : "cases-soft", "p"));
  return item;
}

function ruling(one) {
  const item = make("li", "cases-ruling" + (one.superseded ? " superseded" : ""));
  const who = make("p", "cases-who");
  who.append(outside(one.who, "", "b"), chip(one.verdict), when(one.at));
  who.append(make("span", "cases-soft", "after " + seconds(one.seconds)));
  if (one.superseded) who.append(make("span", "cases-tag", one.superseded));
  if (one.settles) who.append(make("span", "cases-tag", "settles"));
  if (one.rushed) who.append(make("span", "cases-tag", "rushed"));
  if (one.flagged) who.append(make("span", "cases-tag warn", "flagged"));
  if (one.elements.length) who.append(make("span", "cases-soft", one.elements.join(", ")));
  item.append(who);
  if (one.picked) item.append(line(one.is_own_rationale ? "rationale of their own, from" : "best rationale:", outside(one.picked)));
  if (one.rationale) item.append(outside(one.rationale, "cases-why", "p"));
  if (one.note) item.append(outside("Note: " + one.note, "cases-soft", "p"));
  return item;
}

function seconds(number) {
  if (number < 60) return (number < 10 ? number.toFixed(1) : Math.round(number)) + " s";
  return Math.floor(number / 60) + " min " + Math.round(number % 60) + " s";
}

function relative(one) {
  const item = make("li", "cases-relative");
  item.append(row(one));
  return item;
}

function happening(one) {
  const item = make("li", "cases-happening " + one.kind);
  const words = make("p");
  words.append(outside(one.who, "", "b"), " " + one.what);
  item.append(when(one.at), words);
  if (one.more) item.append(outside(one.more, "cases-soft", "p"));
  return item;
}

// The clipboard is open to pages of this machine and of HTTPS; elsewhere the old way still works.
async function copyLink() {
  const link = new URL(linkTo(openId), location.href).href;
  try {
    await navigator.clipboard.writeText(link);
  } catch {
    const field = make("textarea", "cases-unseen", link);
    root.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  say("Copied: " + link, "saved");
}

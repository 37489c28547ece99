// Who is at the desk: the name, and the way out where people sign in.
//
// Runs as the `js_on_load` of one gr.HTML component. Gradio's client swallows a refusal, and the
// labelling loop then takes the desk for unreachable; so the browser's own list of requests is
// watched, and whoever is signed out (by the clock, an editor, or themselves elsewhere) is told. The
// words stand before it, as before the other scripts (`words.js`).

const place = element.querySelector("#desk-account");
const LOOK_AGAIN = 30000; // ms

function make(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

function show(person) {
  const name = make("span", "desk-name");
  name.append(make("bdi", "", person.name));
  name.title = person.name + ", " + person.role;
  if (!person.signed_in) return place.replaceChildren(name);
  const way = make("form");
  way.method = "post";
  way.action = "logout";
  way.append(make("button", "", t("account.sign_out")));
  place.replaceChildren(name, way);
}

function showSignedOut() {
  const told = make("span", "desk-signed-out");
  told.setAttribute("role", "alert");
  const way = make("a", "", t("account.sign_in"));
  way.href = "login" + (/^\?[^\s\\]*$/.test(location.search) ? "?then=" + encodeURIComponent(location.search) : "");
  told.append(t("account.signed_out"), way);
  place.replaceChildren(told);
}

async function look() {
  const answer = await fetch("desk/who").catch(() => null); // unreachable: the tab itself says so
  if (!answer || !element.isConnected) return;
  if (answer.status === 401) return showSignedOut();
  if (!answer.ok) return;
  const person = await answer.json();
  // Somebody else signed in meanwhile, in another tab: nothing of the page must stay.
  if (window.gradio_config && window.gradio_config.username && window.gradio_config.username !== person.name) return location.reload();
  show(person);
}

if (window.oocAccount) window.oocAccount.abort();
window.oocAccount = new AbortController();
const { signal } = window.oocAccount;
document.addEventListener("visibilitychange", () => document.hidden || look(), { signal });
const timer = setInterval(() => document.hidden || look(), LOOK_AGAIN);
const refusals = new PerformanceObserver((seen) => {
  const refused = seen.getEntries().filter((one) => one.responseStatus === 401 && !one.name.endsWith("desk/who"));
  if (refused.length && !place.querySelector(".desk-signed-out")) look();
});
refusals.observe({ type: "resource" });
signal.addEventListener("abort", () => {
  clearInterval(timer);
  refusals.disconnect();
});
look();

// The picture: the wheel zooms at the pointer, a drag moves, a double click toggles; keys do the same.
//
// It is fitted whole to begin with. Turning by a quarter swaps its sides, so it is made smaller by
// as much as it would stick out.

const picture = (() => {
  const frame = element.querySelector(".adj-picture");
  const image = element.querySelector(".adj-img");
  const LIGHTS = [1, 1.4, 2, 0.7];
  let scale = 1, x = 0, y = 0, turns = 0, light = 0, grip = null;

  const place = () => {
    const box = image.getBoundingClientRect.call(frame);
    const inset = 24;
    const width = box.width - inset, height = box.height - inset;
    const ratio = image.naturalWidth && image.naturalHeight ? image.naturalWidth / image.naturalHeight : width / height;
    const shownWidth = Math.min(width, height * ratio), shownHeight = shownWidth / ratio;
    const fitted = turns % 2 ? Math.min(width / shownHeight, height / shownWidth) : 1;
    const parts = [];
    if (x || y) parts.push("translate(" + x + "px," + y + "px)");
    if (scale !== 1 || fitted !== 1) parts.push("scale(" + scale * fitted + ")");
    if (turns) parts.push("rotate(" + turns * 90 + "deg)");
    image.style.transform = parts.join(" ");
    image.style.filter = light ? "brightness(" + LIGHTS[light] + ")" : "";
    frame.dataset.zoomed = String(scale > 1);
  };

  const to = (wanted, event) => {
    const box = frame.getBoundingClientRect();
    const fromX = event ? event.clientX - box.left - box.width / 2 : 0;
    const fromY = event ? event.clientY - box.top - box.height / 2 : 0;
    const next = Math.min(8, Math.max(1, wanted));
    x = next === 1 ? 0 : fromX - ((fromX - x) * next) / scale;
    y = next === 1 ? 0 : fromY - ((fromY - y) * next) / scale;
    scale = next;
    place();
  };

  frame.addEventListener("wheel", (event) => { event.preventDefault(); to(scale * Math.exp(-event.deltaY / 400), event); }, { passive: false });
  frame.addEventListener("dblclick", (event) => event.target.closest("button") || to(scale > 1 ? 1 : 3, event));
  frame.addEventListener("pointerdown", (event) => {
    if (scale === 1 || event.target.closest("button")) return;
    grip = [event.clientX - x, event.clientY - y];
    frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => {
    if (!grip) return;
    [x, y] = [event.clientX - grip[0], event.clientY - grip[1]];
    place();
  });
  for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, () => (grip = null));

  const deeds = {
    in: () => to(scale * 1.5),
    out: () => to(scale / 1.5),
    fit: () => { turns = light = 0; to(1); },
    turn: () => { turns = (turns + 1) % 4; place(); },
    light: () => { light = (light + 1) % LIGHTS.length; place(); },
    move: (right, down) => { if (scale > 1) { x -= 60 * right; y -= 60 * down; place(); } },
  };
  for (const node of element.querySelectorAll("[data-picture]")) node.addEventListener("click", () => deeds[node.dataset.picture]());
  return { ...deeds, reset: deeds.fit };
})();

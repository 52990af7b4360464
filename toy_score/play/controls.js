// Mouse, touch and keyboard.

function options(id, entries) {
  $$(id).replaceChildren(...entries.map(([value, text]) => Object.assign(document.createElement("option"), { value, textContent: text })));
}

function setField(value) {
  const needsNetwork = ["learned", "difference"].includes(value);
  if (needsNetwork && !problem.learned) return;
  const before = moving();
  state.field = value;
  change({ keepCloud: before === moving() });
}

function setLevel(ratio) {
  const [low, high] = problem.schedule.ratios;
  state.level = Math.min(Math.max(ratio, low), high);
  change();
}

function togglePlay() {
  if (!problem.distribution) return;
  playing = !playing;
  if (playing && (!cloud || cloud.finished)) newCloud();
  dirty = true;
  showControls();
}

function stepOnce() {
  if (!problem.distribution) return;
  playing = false;
  if (!cloud || cloud.finished) newCloud();
  cloud.step();
  state.level = Math.max(cloud.ratio, problem.schedule.ratios[0]);
  dirty = true;
  showControls();
}

function restart() {
  if (!problem.distribution) return;
  state.seed += 1;
  newCloud();
  dirty = true;
  showControls();
}

function setDrawing(value) {
  drawing = value;
  if (drawing && state.data !== OWN) Object.assign(state, { data: OWN, level: 0.2, x: null, y: null });
  paths = [];
  change();
}

function setTheme(value) {
  state.theme = value;
  document.documentElement.dataset.theme = value || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  dirty = true;
}

function onPointer(event) {
  if (event.buttons === 0 && event.type === "pointermove") return;
  const [x, y] = plane.fromEvent(event);
  if (drawing) {
    const near = own.length && Math.hypot(x - own[own.length - 2], y - own[own.length - 1]) < 0.12;
    if ((event.type === "pointermove" && near) || own.length >= 2 * MOST_OWN) return;
    own.push(...decodeOwn(encodeOwn([x, y]))); // as exactly as a link keeps them
  } else Object.assign(state, { x, y });
  playing = false;
  change({ keepCloud: !drawing });
}

const KEYS = {
  " ": togglePlay, s: stepOnce, r: restart, d: () => setDrawing(!drawing), 1: () => setField("learned"), 2: () => setField("exact"),
  3: () => setField("difference"), 4: () => setField("none"), "+": () => setLevel(state.level * 1.2), "-": () => setLevel(state.level / 1.2),
  t: () => { setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"); showControls(); },
};
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || ["SELECT", "INPUT"].includes(event.target.tagName)) return;
  const move = event.target === plane.canvas && MOVES[event.key];
  if (move) {
    const size = plane.half / (event.shiftKey ? 100 : 20);
    Object.assign(state, { x: (state.x ?? 0) + size * move[0], y: (state.y ?? 0) + size * move[1] });
    change({ keepCloud: true });
  } else if (KEYS[event.key] && !(event.key === " " && event.target.tagName !== "BODY" && event.target !== plane.canvas)) KEYS[event.key]();
  else return;
  event.preventDefault();
}

options("data", PAGE.distributions.map((p, i) => [i, p.label]));
options("network", [...PAGE.networks.map((network, i) => [i, network.name]), [-1, "none: exact only"]]);
for (const id of ["first", "second"]) options(id, Object.keys(PAGE.samplers).map((name) => [name, name]));
options("rule", RULES.map((name) => [name, name]));
options("grid", [["own", "as each sampler chooses"], ...Object.keys(PAGE.grids).map((name) => [name, name])]);

for (const id of CHOICES) {
  $$(id).addEventListener("change", () => {
    const { value } = $$(id);
    state[id] = typeof START[id] === "number" ? Math.round(Number(value)) : value;
    if (id === "network" && state.network >= 0) Object.assign(state, { data: PAGE.networks[state.network].data, field: "learned" });
    if (id === "data") {
      if (state.data !== OWN) drawing = false;
      const network = PAGE.networks.findIndex((n) => n.data === state.data);
      if (network >= 0 && (state.network < 0 || PAGE.networks[state.network].data !== state.data)) state.network = network;
      if (network >= 0 && state.field === "exact") state.field = "learned";
      Object.assign(state, { x: null, y: null });
      paths = [];
    }
    if (id === "first") state.firstSteps = PAGE.steps[state.first];
    if (id === "second") state.secondSteps = PAGE.steps[state.second];
    valid(state);
    change();
  });
}
for (const id of SEEN) {
  $$(id).addEventListener("change", () => {
    const { value } = $$(id);
    state[id] = typeof START[id] === "number" ? Number(value) : value;
    if (id === "seen" && state.seen && state.field === "exact") state.field = "learned";
    valid(state);
    change();
  });
}
$$("noise").addEventListener("input", () => {
  const [low, high] = problem.schedule.ratios;
  setLevel(low * (high / low) ** ($$("noise").value / 1000));
});
for (const button of $$("field").children) button.addEventListener("click", () => setField(button.dataset.value));
$$("density").addEventListener("change", () => { state.density = Number($$("density").checked); change({ keepCloud: true }); });
$$("slow").addEventListener("change", () => { state.slow = Number($$("slow").checked); showControls(); });
$$("play").addEventListener("click", togglePlay);
$$("step").addEventListener("click", stepOnce);
$$("restart").addEventListener("click", restart);
$$("draw").addEventListener("click", () => setDrawing(!drawing));
$$("clear").addEventListener("click", () => { own = []; change(); });
$$("theme").addEventListener("click", KEYS.t);
$$("plane").addEventListener("pointerdown", onPointer);
$$("plane").addEventListener("pointermove", onPointer);
document.addEventListener("keydown", onKey);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(state.theme));
window.addEventListener("resize", () => { dirty = true; });
window.addEventListener("hashchange", () => { state = readState(location.hash); own = decodeOwn(state.own); setTheme(state.theme); change(); });

setTheme(state.theme);
change();
requestAnimationFrame(frame);

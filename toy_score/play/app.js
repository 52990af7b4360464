// The page: controls, what they change, and the loop that draws.

const $$ = (id) => document.getElementById(id);
const N_CLOUD = PAGE.points, RUN_SECONDS = 4, SLOW = 5, NEAREST = 1.02, REFINE_AFTER = 140;
const CHOICES = ["data", "network", "first", "second", "firstSteps", "secondSteps", "grid"], SEEN = ["seen", "value", "std", "rule"];
const plane = new Plane($$("plane"));
let state = readState(location.hash), own = decodeOwn(state.own), drawing = false, playing = false, cloud = null;
let problem, field, paths = [], fieldTime = 0, dirty = true, lastFrame = 0, lastChange = 0, coarse = false;
const built = new Map(); // distributions and their metrics, networks: made once

const keep = (key, make) => { if (!built.has(key)) built.set(key, make()); return built.get(key); };

// What is looked at: distribution, schedule, network; worked out again when the choice changes.
function choose_problem() {
  const network = state.network >= 0 && PAGE.networks[state.network].data === state.data ? PAGE.networks[state.network] : null;
  if (state.data === OWN) { built.delete(`distribution ${OWN}`); built.delete(`metric ${OWN}`); }
  const described = PAGE.distributions[state.data], seen = described.family === "gaussians" && state.seen > 0;
  const observation = seen ? { axis: state.seen - 1, value: state.value, std: state.std } : null;
  const key = seen ? `${state.data} ${Object.values(observation)}` : String(state.data);
  const distribution = state.data === OWN && !own.length ? null : keep(`distribution ${key}`, () => makeDistribution(
    state.data === OWN ? { ...described, mean: Float64Array.from(own) }
      : seen ? { ...described, ...afterObservation(numbersOf(described), observation) } : described));
  const schedule = network ? network.schedule : PAGE.distributions[state.data].schedule;
  const learned = seen ? new RuleDenoiser(numbersOf(described), observation, state.rule, new Schedule(schedule))
    : network && keep(`network ${state.network}`, () => new NetworkDenoiser(network, new Schedule(schedule)));
  if (!learned && ["learned", "difference"].includes(state.field)) state.field = "exact";
  problem = { key, observation, name: seen ? state.rule : "learned", distribution, schedule: new Schedule(schedule), description: schedule, learned, bounds: PAGE.distributions[state.data].bounds,
    exact: distribution && new ExactDenoiser(distribution, new Schedule(schedule)) };
  const [low, high] = problem.schedule.ratios;
  state.level = Math.min(Math.max(state.level, low), high);
}

const moving = () => (state.field === "learned" || state.field === "difference" ? problem.learned : problem.exact);

function samplerOf(which) {
  const described = structuredClone(PAGE.samplers[state[which]]), args = described.init_args, steps = state[`${which}Steps`];
  if ("steps_per_level" in args) args.steps_per_level = steps; else args.n_steps = steps;
  if (state.grid !== "own" && "grid" in args) args.grid = PAGE.grids[state.grid];
  return makeSampler(described);
}

function makeDenoiser(schedule) {
  return moving() === problem.learned ? Object.assign(Object.create(problem.learned), { schedule }) : new ExactDenoiser(problem.distribution, schedule);
}

function points_on(half, side) {
  const at = (i) => half * (2 * (i + 0.5) / side - 1), points = new Float64Array(2 * side * side);
  for (let i = 0; i < side * side; i++) points.set([at(i % side), -at(Math.floor(i / side))], 2 * i);
  return points;
}

// The arrows and the density at the noise level; the time that they take is shown below.
function computeField() {
  const begin = performance.now(), half = halfWidth(problem.bounds, state.level), side = plane.canvas.clientWidth < 500 ? 19 : 25;
  const t = problem.schedule.levelAt(state.level), points = points_on(half, side), x = times(t.alpha, points);
  const answer = (denoiser) => times(-1, denoiser.noise(x, t));
  const vectors = { none: () => null, learned: () => answer(problem.learned), exact: () => answer(problem.exact),
    difference: () => plus(answer(problem.learned), [-1, answer(problem.exact)]) }[state.field]();
  const lengths = vectors && Array.from({ length: side * side }, (_, i) => Math.hypot(vectors[2 * i], vectors[2 * i + 1]));
  field = { half, side, points, vectors, longest: vectors ? Math.max(...lengths) : 0, heat: null };
  if (state.field === "difference") field.heat = { values: lengths.map((l) => l / field.longest), side };
  else if (state.density) {
    const finest = 80, affordable = Math.floor(Math.sqrt(6e5 / problem.distribution.parts));
    coarse = affordable < finest && performance.now() - lastChange < REFINE_AFTER;
    field.heat = densityImage(half, coarse ? affordable : finest);
  }
  fieldTime = performance.now() - begin;
}

function densityImage(half, side) {
  const evaluate = problem.distribution.at(state.level), out = new Float64Array(3), points = points_on(half, side);
  const logs = Float64Array.from({ length: side * side }, (_, i) => { evaluate(points[2 * i], points[2 * i + 1], out); return out[0]; });
  const top = logs.reduce((a, b) => Math.max(a, b));
  return { side, values: logs.map((log) => 0.72 * Math.exp(0.5 * (log - top))) };
}

function computePaths() {
  paths = [];
  $$("firstResult").textContent = $$("secondResult").textContent = "";
  if (state.x === null || !problem.distribution) return;
  const ratio = Math.max(state.level, NEAREST * problem.schedule.ratios[0]);
  const common = { schedule: problem.description, y: Float64Array.of(state.x, state.y), ratio, seed: state.seed };
  const fine = makeSampler({ class_path: "RungeKutta4", init_args: { ...PAGE.samplers.RungeKutta4.init_args, n_steps: 32 } });
  const exact = pathOf({ ...common, sampler: fine, makeDenoiser: (s) => new ExactDenoiser(problem.distribution, s) });
  const [ex, ey] = exact.positions[exact.positions.length - 1];
  paths.push({ ...exact, name: "exact", dashed: true, marks: false });
  for (const which of ["first", "second"]) {
    const path = pathOf({ ...common, sampler: samplerOf(which), makeDenoiser }), [x, y] = path.positions[path.positions.length - 1];
    paths.push({ ...path, name: which });
    const end = path.isRandom ? "a random path" : `ends ${short(Math.hypot(x - ex, y - ey))} from the exact path`;
    $$(`${which}Result`).textContent = `${path.evaluations} evaluation${path.evaluations > 1 ? "s" : ""}, ${end}`;
  }
}

function newCloud() {
  const metric = keep(`metric ${problem.key}`, () => new SlicedW1(problem.distribution, N_CLOUD));
  cloud = new Cloud({ denoiser: moving(), sampler: samplerOf("first"), metric, bounds: problem.bounds, n: N_CLOUD, seed: state.seed });
  state.level = cloud.ratio;
}

function change({ keepCloud = false } = {}) {
  choose_problem();
  if (!keepCloud) { cloud = null; playing = false; }
  lastChange = performance.now();
  dirty = true;
  if (state.x !== null) computePaths();
  showControls();
}

function advance(now) {
  const due = (now - lastFrame) / 1000 / (RUN_SECONDS * (state.slow ? SLOW : 1)) * (cloud.levels.length - 1);
  cloud.progress += due;
  const begin = performance.now();
  while (cloud.progress >= 1 && playing) {
    const rest = cloud.progress - 1;
    if (!cloud.step()) { playing = false; cloud.progress = 1; break; }
    cloud.progress = performance.now() - begin > 24 ? Math.min(rest, 0.99) : rest; // a slow step delays the motion
  }
  state.level = Math.max(cloud.ratio, problem.schedule.ratios[0]);
  dirty = true;
}

function frame(now) {
  if (playing && cloud) advance(now);
  lastFrame = now;
  if (coarse && now - lastChange > REFINE_AFTER && !playing) dirty = true;
  if (dirty) { dirty = false; draw(); }
  requestAnimationFrame(frame);
}

function draw() {
  plane.begin(halfWidth(problem.bounds, state.level));
  if (!problem.distribution) plane.message("Draw some points here");
  else {
    computeField();
    if (field.heat) plane.heat(field.heat.values, field.heat.side, colour(state.field === "difference" ? "difference" : "density"));
    const name = { learned: "learned", exact: "exact", difference: "ink" }[state.field];
    if (field.vectors && field.longest > 0) plane.arrows(field.points, field.vectors, field.longest, name, field.side);
  }
  if (problem.observation) plane.band(problem.observation);
  if (state.data === OWN) plane.dots(own.map((v) => v / plane.half), "data", 3.2);
  if (cloud) plane.dots(cloud.positions(), "cloud", plane.width < 500 ? 2 : 2.7);
  for (const path of paths) plane.path(path.positions, path.name, path);
  if (state.x !== null) plane.start(state.x, state.y);
  plane.axes();
  drawQuality($$("quality"), cloud ? cloud.history : [], problem.schedule.ratios);
  showNumbers();
}

function showNumbers() {
  const [low, high] = problem.schedule.ratios, latest = cloud && cloud.history[cloud.history.length - 1];
  $$("noise").value = Math.round(1000 * Math.log(state.level / low) / Math.log(high / low));
  $$("level").textContent = short(state.level);
  $$("multiple").textContent = latest ? `${latest.multiple.toFixed(2)}×` : "–";
  $$("play").textContent = playing ? "Pause" : "Play";
  $$("speed").textContent = `Last field: ${fieldTime.toFixed(0)} ms.`;
  document.body.dataset.fieldTime = fieldTime.toFixed(1);
  const dot = (name, text) => `<span><i style="background:var(--${name})"></i>${text}</span>`;
  const stroke = (name, text) => `<span><i class="stroke" style="background:var(--${name})"></i>${text}</span>`;
  const arrows = { learned: `${problem.name} score × σ`, exact: "exact score × σ", difference: `${problem.name} − exact score, × σ` }[state.field];
  const learned = problem.observation ? `rule ${state.rule}` : "network";
  $$("key").innerHTML = [
    field?.vectors && problem.distribution && stroke({ learned: "learned", exact: "exact", difference: "ink" }[state.field],
      `${arrows}; longest arrow ${short(field.longest)}`),
    state.field === "difference" ? `<span><i style="background:rgb(var(--difference))"></i>length of the difference</span>`
      : state.density && `<span><i style="background:rgb(var(--density))"></i>density of the noisy data</span>`,
    cloud && dot("cloud", `cloud, moved by the ${moving() === problem.learned ? learned : "exact denoiser"}: ${cloud.denoiser.count} evaluations`),
    state.data === OWN && dot("data", "your points"),
    problem.observation && stroke("data", "what is observed, and its error"),
    ...(paths.length ? [stroke("first", `path by ${state.first}`), stroke("second", `path by ${state.second}`), stroke("exact", "exact path (dashed)")] : []),
  ].filter(Boolean).join("");
}

function showControls() {
  for (const name of [...CHOICES, ...SEEN]) $$(name).value = state[name];
  for (const name of SEEN) $$(name).disabled = PAGE.distributions[state.data].family !== "gaussians" || (name !== "seen" && !state.seen);
  for (const button of $$("field").children) {
    button.setAttribute("aria-pressed", String(button.dataset.value === state.field));
    if (button.dataset.value === "learned") button.textContent = problem.name;
    button.disabled = !problem.learned && ["learned", "difference"].includes(button.dataset.value);
  }
  $$("density").checked = Boolean(state.density);
  $$("slow").checked = Boolean(state.slow);
  $$("draw").setAttribute("aria-pressed", String(drawing));
  $$("draw").textContent = drawing ? "Stop drawing" : "Draw points";
  $$("plane").classList.toggle("draw", drawing);
  $$("pointer").textContent = drawing ? "the pointer draws data" : "click the plane to drop a point";
  $$("count").textContent = own.length ? `${own.length / 2} of at most ${MOST_OWN} points` : "";
  for (const id of ["play", "step", "restart"]) $$(id).disabled = !problem.distribution;
  state.own = own.length ? encodeOwn(own) : "";
  writeState({ ...state, level: playing ? START.level : state.level });
}

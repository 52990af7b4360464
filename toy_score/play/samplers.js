// Samplers: from noise to data in steps from level to level. `step(denoiser, x, t, s, noise, memory)` returns the points
// at the lower level s and the memory for the next step; `last(denoiser, x, t, noise)` goes from the lowest level to the
// data. `noise.normal(n)` gives n standard normal numbers.

// Step grids: n descending times of a schedule.
const linspace = (a, b, n) => Array.from({ length: n }, (_, i) => (n > 1 ? a + (b - a) * i / (n - 1) : a));
const GRIDS = {
  Uniform: () => (schedule, n) => linspace(schedule.tMax, schedule.tMin, n),
  Trailing: () => (schedule, n) => linspace(schedule.tMax, Math.max(schedule.tMax / n, schedule.tMin), n),
  Geometric: () => ofRatios((r) => Math.log(r), (u) => Math.exp(u)),
  Karras: ({ rho }) => ofRatios((r) => r ** (1 / rho), (u) => u ** rho),
  Angular: ({ scale }) => ofRatios((r) => Math.atan(r / scale), (u) => scale * Math.tan(u)),
};

// Evenly spaced in a function of the ratio sigma / alpha.
function ofRatios(f, inverse) {
  return (schedule, n) => {
    const [low, high] = schedule.ratios;
    return linspace(f(high), f(low), n).map((u, i) => (i ? schedule.time(inverse(u)) : schedule.tMax));
  };
}

function makeGrid(description) { return GRIDS[nameOf(description)](description.init_args); }

// y + sum_i weights_i arrays_i.
function plus(y, ...terms) {
  return y.map((value, i) => {
    let sum = value;
    for (const [weight, array] of terms) sum += weight * array[i];
    return sum;
  });
}

const times = (factor, x) => x.map((value) => factor * value);

// The flow's last step, y - (r / 2) noise in y = x / alpha, exact to order r^4.
function toData(denoiser, x, t) { return plus(times(1 / t.alpha, x), [-0.5 * t.ratio, denoiser.noise(x, t)]); }

function heunStep(denoiser, x, t, s) {
  const y = times(1 / t.alpha, x), h = s.ratio - t.ratio, d = denoiser.noise(x, t);
  const next = denoiser.noise(times(s.alpha, plus(y, [h, d])), s);
  return times(s.alpha, plus(y, [0.5 * h, d], [0.5 * h, next]));
}

const RK4 = { a: [[], [1 / 2], [0, 1 / 2], [0, 0, 1]], b: [1 / 6, 1 / 3, 1 / 3, 1 / 6], c: [0, 1 / 2, 1 / 2, 1] };
const DORMAND_PRINCE = { // Dormand & Prince 1980
  a: [[], [1 / 5], [3 / 40, 9 / 40], [44 / 45, -56 / 15, 32 / 9],
    [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
    [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
    [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84]],
  b: [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0], c: [0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1],
};

// A Runge-Kutta step of dz / dphi = velocity on the circle, z = x / R and phi = arctan(sigma / alpha).
// `first` is the slope at the beginning if it is known; returns the points and the slope at the end.
function rungeKutta({ a, b, c }, denoiser, x, t, s, first) {
  const z = times(1 / t.radius, x), h = s.angle - t.angle, schedule = denoiser.schedule;
  const slope = (angle, z) => {
    const at = schedule.levelAt(Math.tan(angle));
    return velocity(denoiser, times(at.radius, z), at);
  };
  const terms = (weights) => slopes.map((k, i) => [h * (weights[i] ?? 0), k]).filter(([w]) => w);
  const slopes = [first ?? slope(t.angle, z)];
  for (let i = 1; i < c.length; i++) slopes.push(slope(t.angle + c[i] * h, plus(z, ...terms(a[i]))));
  return [times(s.radius, plus(z, ...terms(b))), slopes[slopes.length - 1]];
}

// a and b of the forward process between two levels, x_t = a x_s + N(0, b I).
function forwardStep(t, s) {
  const a = t.alpha / s.alpha;
  return [a, t.sigma ** 2 - (a * s.sigma) ** 2];
}

// y + (step / 2) score + sqrt(step) z in y = x / alpha.
function langevinStep(denoiser, x, t, step, noise) {
  const drift = 0.5 * step * t.alpha * t.alpha;
  return plus(x, [drift, score(denoiser, x, t)], [t.alpha * Math.sqrt(step), noise.normal(x.length)]);
}

// The reverse SDE with lambda = 1 / r^2 as time, in which its noise is additive: the step from t to s with a mean denoised
// point D and an increment dB of the Brownian motion; and the level after a share of the step.
const precision = (t) => 1 / (t.ratio * t.ratio);

function reverseStep(x, D, t, s, dB) {
  const keep = (s.ratio / t.ratio) ** 2;
  return plus(times(s.alpha * keep / t.alpha, x), [s.alpha * (1 - keep), D], [s.alpha * s.ratio ** 2, dB]);
}

function within(schedule, t, s, share) {
  return schedule.levelAt((precision(t) + share * (precision(s) - precision(t))) ** -0.5);
}

// Multistep methods: the increment is a combination of the latest evaluations, the newest first in `memory`.
function adams(order, weights, position, value, combine) {
  return (denoiser, x, t, s, noise, memory) => {
    const now = position(t), latest = [[now, value(denoiser, x, t)], ...(memory ?? [])].slice(0, order);
    const w = weights(position(s) - now, latest.map(([u]) => u - now));
    return [combine(x, t, s, latest.map(([, v], i) => [w[i], v])), latest];
  };
}

const minusLog = (t) => -Math.log(t.ratio);
function exponential(order, weights) {
  return adams(order, weights, minusLog, denoised, (x, t, s, terms) =>
    plus(times(s.ratio / t.ratio * s.alpha / t.alpha, x), ...terms.map(([w, D]) => [s.alpha * w, D])));
}

// Nodes and weights of Gauss-Legendre quadrature on [-1, 1], by Newton's method from Chebyshev's nodes.
const GAUSS = Array.from({ length: 16 }, (_, i) => {
  let x = Math.cos(Math.PI * (i + 0.75) / 16.5), slope = 0;
  for (let iteration = 0; iteration < 100; iteration++) {
    let before = 1, P = x;
    for (let n = 2; n <= 16; n++) [before, P] = [P, ((2 * n - 1) * x * P - (n - 1) * before) / n];
    slope = 16 * (x * P - before) / (x * x - 1);
    x -= P / slope;
  }
  return [x, 2 / ((1 - x * x) * slope * slope)];
});

// int_0^h kernel(tau) L_j(tau) dtau of the Lagrange polynomials of the nodes.
function lagrangeWeights(h, nodes, kernel) {
  return nodes.map((node, j) => GAUSS.reduce((sum, [u, w]) => {
    const tau = 0.5 * h * (u + 1);
    const L = nodes.reduce((product, other, i) => (i === j ? product : product * (tau - other) / (node - other)), 1);
    return sum + 0.5 * h * w * kernel(tau) * L;
  }, 0));
}

const alone = (step) => (...args) => [step(...args), null]; // a step without memory
const clean = (denoiser, x, t) => denoised(denoiser, x, t);
const repeatedly = (k) => (denoiser, x, t) => {
  let y = clean(denoiser, x, t);
  for (let i = 1; i < k; i++) y = clean(denoiser, times(t.alpha, y), t);
  return y;
};

const SAMPLERS = {
  Euler: () => ({ last: clean, step: alone((denoiser, x, t, s) =>
    times(s.alpha, plus(times(1 / t.alpha, x), [s.ratio - t.ratio, denoiser.noise(x, t)]))) }),
  Heun: () => ({ last: toData, step: alone(heunStep) }),
  RungeKutta4: () => ({ last: toData, step: alone((denoiser, x, t, s) => rungeKutta(RK4, denoiser, x, t, s)[0]) }),
  DormandPrince: () => ({ last: toData, step: (denoiser, x, t, s, noise, slope) =>
    rungeKutta(DORMAND_PRINCE, denoiser, x, t, s, slope ?? undefined) }),
  DPMSolver2M: () => ({ last: toData, step: exponential(2, (h, nodes) => {
    const whole = -Math.expm1(-h), half = nodes.length > 1 ? 0.5 * h / -nodes[1] : 0;
    return [whole * (1 + half), -whole * half];
  }) }),
  ExponentialAdams: ({ order }) => ({ last: toData,
    step: exponential(order, (h, nodes) => lagrangeWeights(h, nodes, (tau) => Math.exp(tau - h))) }),
  AdamsBashforth: ({ order }) => ({ last: toData, step: adams(order, (h, nodes) => lagrangeWeights(h, nodes, () => 1),
    (t) => t.angle, velocity, (x, t, s, terms) => times(s.radius, plus(times(1 / t.radius, x), ...terms))) }),
  DDIM: ({ eta }) => ({ last: clean, step: alone((denoiser, x, t, s, noise) => {
    const fresh = eta ** 2 * forwardStep(t, s)[1] * (s.sigma / t.sigma) ** 2, eps = denoiser.noise(x, t);
    const mean = plus(times(s.alpha / t.alpha, x),
      [Math.sqrt(s.sigma ** 2 - fresh) - s.alpha / t.alpha * t.sigma, eps]);
    return fresh > 0 ? plus(mean, [Math.sqrt(fresh), noise.normal(x.length)]) : mean;
  }) }),
  DDPMAncestral: ({ variance }) => ({ last: clean, step: alone((denoiser, x, t, s, noise) => {
    const [a, b] = forwardStep(t, s), keep = (s.sigma / t.sigma) ** 2;
    return plus(times(a * keep, x), [s.alpha * b / t.sigma ** 2, denoised(denoiser, x, t)],
      [Math.sqrt(variance === "posterior" ? b * keep : b), noise.normal(x.length)]);
  }) }),
  EDMStochastic: ({ n_steps, S_churn, S_tmin, S_tmax, S_noise }) => ({ last: toData,
    step: alone((denoiser, x, t, s, noise) => {
      if (t.ratio < S_tmin || t.ratio > S_tmax) return heunStep(denoiser, x, t, s);
      const gamma = Math.min(S_churn / n_steps, Math.SQRT2 - 1), schedule = denoiser.schedule;
      const up = schedule.levelAt(Math.min(t.ratio * (1 + gamma), schedule.ratios[1]));
      const added = Math.sqrt(Math.max(up.ratio ** 2 - t.ratio ** 2, 0));
      const raised = plus(times(up.alpha / t.alpha, x), [up.alpha * added * S_noise, noise.normal(x.length)]);
      return heunStep(denoiser, raised, up, s);
    }) }),
  StochasticMidpoint: ({ denoisings }) => ({ last: denoisings ? repeatedly(denoisings) : toData, step: alone((denoiser, x, t, s, noise) => {
    const m = within(denoiser.schedule, t, s, 0.5), half = Math.sqrt(0.5 * (precision(s) - precision(t)));
    const first = times(half, noise.normal(x.length)), both = plus(first, [half, noise.normal(x.length)]);
    const middle = reverseStep(x, denoised(denoiser, x, t), t, m, first);
    return reverseStep(x, denoised(denoiser, middle, m), t, s, both);
  }) }),
  SRA1: () => ({ last: toData, step: alone((denoiser, x, t, s, noise) => { // Roessler 2010, table 6.1
    const m = within(denoiser.schedule, t, s, 0.75), root = Math.sqrt(precision(s) - precision(t));
    const z = noise.normal(x.length), other = noise.normal(x.length), D = denoised(denoiser, x, t);
    const middle = reverseStep(x, D, t, m, plus(times(0.75 * root, z), [0.75 * root / Math.sqrt(3), other]));
    const mean = plus(times(1 / 3, D), [2 / 3, denoised(denoiser, middle, m)]);
    return reverseStep(x, mean, t, s, times(root, z));
  }) }),
  EulerMaruyama: () => ({ last: clean, step: alone((denoiser, x, t, s, noise) => {
    const f = denoiser.schedule.drift(t.time), g = denoiser.schedule.diffusion(t.time), dt = s.time - t.time;
    return plus(times(1 + dt * f, x), [-dt * g * g, score(denoiser, x, t)], [g * Math.sqrt(-dt), noise.normal(x.length)]);
  }) }),
  ReverseDiffusion: () => ({ last: clean, step: alone((denoiser, x, t, s, noise) => {
    const [a, b] = forwardStep(t, s);
    return plus(times(2 - a, x), [b, score(denoiser, x, t)], [Math.sqrt(b), noise.normal(x.length)]);
  }) }),
  AnnealedLangevin: ({ steps_per_level, eps, n_levels, uniform_start }) => {
    const step = (denoiser, x, t, s, noise) => {
      const size = eps * (t.ratio / denoiser.schedule.ratios[0]) ** 2;
      return times(s.alpha / t.alpha, langevinStep(denoiser, x, t, size, noise));
    };
    return { step: alone(step), last: (denoiser, x, t, noise) => step(denoiser, x, t, CLEAN, noise),
      uniformStart: uniform_start, times: (schedule) => GRIDS.Geometric()(schedule, n_levels ?? schedule.nLevels)
        .flatMap((time) => Array(steps_per_level).fill(time)) };
  },
};

function makeSampler(description) {
  const made = SAMPLERS[nameOf(description)](description.init_args), { n_steps, grid } = description.init_args;
  return { times: (schedule) => makeGrid(grid)(schedule, n_steps ?? schedule.nSteps), ...made };
}

// The levels at which the steps begin, highest first, followed by the data.
function levelsOf(sampler, schedule) { return [...sampler.times(schedule).map((t) => schedule.level(t)), CLEAN]; }

// Where samples begin: the schedule's prior N(0, sigma(tMax)^2 I), or uniform on a square.
function startOf(sampler, schedule, n, random) {
  const w = sampler.uniformStart;
  if (typeof w === "number") return Float64Array.from({ length: 2 * n }, () => w * (2 * random.uniform() - 1));
  return times(schedule.level(schedule.tMax).sigma, random.normal(2 * n));
}

// Yields { x, level } at the start and after every step.
function* walk(sampler, denoiser, x, noise, levels = levelsOf(sampler, denoiser.schedule)) {
  let memory = null;
  yield { x, level: levels[0] };
  for (let i = 1; i < levels.length; i++) {
    const t = levels[i - 1], s = levels[i];
    if (s === CLEAN) x = sampler.last(denoiser, x, t, noise);
    else [x, memory] = sampler.step(denoiser, x, t, s, noise, memory);
    yield { x, level: s };
  }
}

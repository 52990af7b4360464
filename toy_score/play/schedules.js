// Noise schedules, x_t = alpha(t) x_0 + sigma(t) eps. Each has `at(t)` = [alpha, sigma], its inverse `timeOf(ratio)` for
// ratio = sigma / alpha, the drift f and the diffusion g of dx = f x dt + g dw, and the times `tMin` < `tMax`.

const NO_SIGNAL = 1e6; // the ratio at which steep schedules end

const SCHEDULES = {
  VE({ sigma_min, sigma_max }) {
    const range = Math.log(sigma_max / sigma_min), sigma = (t) => sigma_min * Math.exp(t * range);
    return { tMin: 0, tMax: 1, at: (t) => [1, sigma(t)], timeOf: (r) => Math.log(r / sigma_min) / range,
      drift: () => 0, diffusion: (t) => sigma(t) * Math.sqrt(2 * range) };
  },
  EDM({ sigma_min, sigma_max }) {
    return { tMin: sigma_min / sigma_max, tMax: 1, at: (t) => [1, sigma_max * t], timeOf: (r) => r / sigma_max,
      drift: () => 0, diffusion: (t) => sigma_max * Math.sqrt(2 * t) };
  },
  LinearFlow({ sigma_min, sigma_max }) {
    return { tMin: sigma_min / (1 + sigma_min), tMax: sigma_max / (1 + sigma_max), at: (t) => [1 - t, t],
      timeOf: (r) => r / (1 + r), drift: (t) => -1 / (1 - t), diffusion: (t) => Math.sqrt(2 * t / (1 - t)) };
  },
  VP(args) {
    const { logAlpha, timeOfLogAlpha, drift } = linearBeta(args);
    const timeOf = (r) => timeOfLogAlpha(-0.5 * Math.log1p(r * r));
    return { tMin: timeOf(args.sigma_min), tMax: Math.min(1, timeOf(NO_SIGNAL)), timeOf, drift,
      ...preserving(logAlpha, drift) };
  },
  SubVP(args) {
    const { logAlpha, timeOfLogAlpha, drift } = linearBeta(args);
    const timeOf = (r) => timeOfLogAlpha(-Math.asinh(0.5 * r));
    return { tMin: timeOf(args.sigma_min), tMax: Math.min(1, timeOf(NO_SIGNAL)), timeOf, drift,
      at: (t) => [Math.exp(logAlpha(t)), -Math.expm1(2 * logAlpha(t))],
      diffusion: (t) => Math.sqrt(2 * drift(t) * Math.expm1(4 * logAlpha(t))) };
  },
  Cosine({ s, sigma_min, sigma_max }) {
    const start = s / (1 + s) * Math.PI / 2, speed = Math.PI / 2 / (1 + s), cos0 = Math.cos(start), sin0 = Math.sin(start);
    const logAlpha = (t) => {
      const half = 0.5 * speed * t;
      return Math.log1p(-2 * Math.sin(start + half) * Math.sin(half) / cos0);
    };
    const timeOf = (r) => {
      const log = -0.5 * Math.log1p(r * r), rise = -cos0 * cos0 * Math.expm1(2 * log), sin = Math.sqrt(sin0 * sin0 + rise);
      const step = cos0 * (rise / (sin + sin0) - sin0 * Math.expm1(log));
      return Math.atan2(step, cos0 * cos0 * Math.exp(log) + sin0 * sin) / speed;
    };
    const drift = (t) => -speed * Math.tan(start + speed * t);
    return { tMin: timeOf(sigma_min), tMax: timeOf(sigma_max), timeOf, drift, ...preserving(logAlpha, drift) };
  },
  DDPM({ beta_min, beta_max, n_steps }) {
    const T = n_steps, table = new Float64Array(T + 1); // log alpha at t = i / T
    for (let i = 0; i < T; i++) {
      table[i + 1] = table[i] + 0.5 * Math.log1p(-(beta_min + (beta_max - beta_min) * i / (T - 1)));
    }
    const logAlpha = (t) => {
      const position = Math.min(Math.max(t * T, 0), T), below = Math.min(Math.floor(position), T - 1);
      return table[below] + (position - below) * (table[below + 1] - table[below]);
    };
    const timeOf = (r) => {
      const log = -0.5 * Math.log1p(r * r);
      let i = 1;
      while (i < T && table[i] > log) i++;
      return (i + (log - table[i]) / (table[i] - table[i - 1])) / T;
    };
    const drift = (t) => {
      const i = Math.min(Math.max(Math.ceil(Math.min(Math.max(t * T, 0), T) - 1e-3), 1), T);
      return (table[i] - table[i - 1]) * T;
    };
    const last = Math.max(2, Math.min(T, Math.floor(T * timeOf(NO_SIGNAL))));
    return { tMin: 1 / T, tMax: last / T, timeOf, drift, ...preserving(logAlpha, drift) };
  },
};

function linearBeta({ beta_min, beta_max }) {
  return {
    logAlpha: (t) => -0.25 * (beta_max - beta_min) * t * t - 0.5 * beta_min * t,
    timeOfLogAlpha: (log) => -2 * log / (Math.sqrt(0.25 * beta_min ** 2 - (beta_max - beta_min) * log) + 0.5 * beta_min),
    drift: (t) => -0.5 * (beta_min + t * (beta_max - beta_min)),
  };
}

function preserving(logAlpha, drift) {
  return { at: (t) => [Math.exp(logAlpha(t)), Math.sqrt(-Math.expm1(2 * logAlpha(t)))],
    diffusion: (t) => Math.sqrt(-2 * drift(t)) };
}

// A point of the time axis: time, alpha, sigma, and what follows from them.
function level(time, alpha, sigma) {
  return { time, alpha, sigma, ratio: sigma / alpha, radius: Math.hypot(alpha, sigma), angle: Math.atan2(sigma, alpha) };
}

const CLEAN = level(0, 1, 0);

class Schedule {
  // `highest` ends the schedule at a lower ratio, for walks that begin there.
  constructor(description, highest = Infinity) {
    const made = SCHEDULES[nameOf(description)](description.init_args);
    this.name = nameOf(description);
    this.nLevels = description.init_args.n_levels ?? 10;
    this.nSteps = description.init_args.n_steps ?? 1000;
    Object.assign(this, made);
    this.tMax = Math.min(made.tMax, highest < Infinity ? Math.max(made.timeOf(highest), made.tMin) : made.tMax);
    this.ratios = [this.level(this.tMin).ratio, this.level(this.tMax).ratio];
  }
  level(time) { return level(time, ...this.at(time)); }
  time(ratio) { return Math.min(Math.max(this.timeOf(ratio), this.tMin), this.tMax); }
  levelAt(ratio) { return this.level(this.time(ratio)); }
}

// `Heun` of { class_path: "toy_score.Heun", ... }, the form in which Python and checkpoints describe an object.
function nameOf(description) { return description.class_path.split(".").pop(); }

// What moves: the cloud on its way from noise to data, and the path of one point under a sampler.

const MEASURED_EVERY = 60; // milliseconds between two measurements of a cloud that moves fast

// Counts the evaluations of a denoiser.
class Counted {
  constructor(denoiser) { this.denoiser = denoiser; this.schedule = denoiser.schedule; this.count = 0; }
  noise(x, t) { this.count++; return this.denoiser.noise(x, t); }
}

class Cloud {
  constructor({ denoiser, sampler, metric, bounds, n, seed }) {
    const random = new Random(seed), { schedule } = denoiser;
    this.denoiser = new Counted(denoiser);
    this.metric = metric;
    this.bounds = bounds;
    this.lowest = schedule.ratios[0];
    this.levels = levelsOf(sampler, schedule);
    this.walk = walk(sampler, this.denoiser, startOf(sampler, schedule, n, random), random, this.levels);
    this.history = [];
    this.progress = 1; // of the motion from `before` to `now`
    this.measuredAt = -Infinity;
    this.now = this.before = this.next();
    this.measure();
  }

  // The next position, as points / alpha, with the window in which it is seen; null at the end.
  next() {
    const { value, done } = this.walk.next();
    if (done) return null;
    const ratio = value.level.ratio;
    return { y: times(1 / value.level.alpha, value.x), ratio, half: halfWidth(this.bounds, ratio) };
  }

  // One step of the sampler; false at the data.
  step() {
    const next = this.now.ratio === 0 ? null : this.next();
    if (!next) return false;
    this.before = this.now;
    this.now = next;
    this.progress = 1;
    if (next.ratio === 0 || performance.now() - this.measuredAt > MEASURED_EVERY) this.measure();
    return true;
  }

  measure() {
    const { ratio, y } = this.now, at = this.metric.at(ratio);
    this.history.push({ ratio, multiple: at.distance(y) / at.floor });
    this.measuredAt = performance.now();
  }

  get finished() { return this.now.ratio === 0 && this.progress >= 1; }

  // The noise level that is shown: between two steps it falls geometrically.
  get ratio() {
    const [a, b] = [this.before, this.now].map(({ ratio }) => Math.max(ratio, this.lowest));
    return a * (b / a) ** this.progress;
  }

  // In window coordinates; between two steps the points move on straight lines.
  positions() {
    const { before, now, progress: p } = this;
    return now.y.map((value, i) => (1 - p) * before.y[i] / before.half + p * value / now.half);
  }
}

// The path of a point y at noise level `ratio` to the data: positions / alpha, evaluations, whether chance was used.
function pathOf({ makeDenoiser, schedule, sampler, y, ratio, seed }) {
  const denoiser = new Counted(makeDenoiser(new Schedule(schedule, ratio))), random = new Random(seed);
  let isRandom = false;
  const noise = { normal: (n) => { isRandom = true; return random.normal(n); } };
  const [first] = levelsOf(sampler, denoiser.schedule), positions = [];
  for (const { x, level } of walk(sampler, denoiser, times(first.alpha, y), noise)) {
    positions.push([x[0] / level.alpha, x[1] / level.alpha]);
  }
  return { positions, evaluations: denoiser.count, isRandom };
}

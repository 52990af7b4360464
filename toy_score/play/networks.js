// Denoisers, exact and learned. A denoiser has one method, `noise(x, level)` = E[eps | x_t = x], for points
// x = [x0, y0, x1, y1, ...]; `denoised`, `score` and `velocity` follow from it.

function denoised(denoiser, x, t) { return denoiser.noise(x, t).map((e, i) => (x[i] - t.sigma * e) / t.alpha); }

function score(denoiser, x, t) { return denoiser.noise(x, t).map((e) => -e / t.sigma); }

// (alpha noise - sigma D) / R, with R^2 = alpha^2 + sigma^2 and D = (x - sigma noise) / alpha.
function velocity(denoiser, x, t) {
  return denoiser.noise(x, t).map((e, i) => (t.radius * e - t.sigma / t.radius * x[i]) / t.alpha);
}

class ExactDenoiser {
  constructor(distribution, schedule) { this.distribution = distribution; this.schedule = schedule; }
  noise(x, t) {
    const evaluate = this.distribution.at(t.ratio), out = new Float64Array(3), noise = new Float64Array(x.length);
    for (let i = 0; i < x.length; i += 2) {
      evaluate(x[i] / t.alpha, x[i + 1] / t.alpha, out);
      noise[i] = -t.ratio * out[1];
      noise[i + 1] = -t.ratio * out[2];
    }
    return noise;
  }
}

// The factors [c_in, k_skip, k_out] of noise = k_skip x + k_out F(c_in x) (Karras et al. 2022, table 1).
const PARAMETERISATIONS = {
  ScorePrediction: () => (t) => [1, 0, -t.sigma],
  NoisePrediction: () => () => [1, 0, 1],
  DataPrediction: () => (t) => [1, 1 / t.sigma, -t.alpha / t.sigma],
  VelocityPrediction: () => (t) => [1, t.sigma / t.radius ** 2, t.alpha / t.radius],
  FlowPrediction: () => (t) => [1, 1 / (t.alpha + t.sigma), t.alpha / (t.alpha + t.sigma)],
  EDMPreconditioning: ({ sigma_data }) => (t) => {
    const q = Math.hypot(t.ratio, sigma_data);
    return [1 / (t.alpha * q), t.ratio / (t.alpha * q * q), -sigma_data / q];
  },
};
PARAMETERISATIONS.Energy = PARAMETERISATIONS.EDMPreconditioning; // its F is a gradient, see `NetworkDenoiser`

const CONDITIONINGS = { Sigma: (t) => t.sigma, Time: (t) => t.time, LogSigma: (t) => Math.log(t.ratio) / 4 };

const EMBEDDINGS = {
  Raw: () => (c) => [c],
  Fourier: ({ n_frequencies, period }) => (c) => {
    const angles = Array.from({ length: n_frequencies }, (_, k) => 2 ** k * Math.PI * c / period);
    return [c, ...angles.map(Math.cos), ...angles.map(Math.sin)];
  },
};

const sigmoid = (h) => 1 / (1 + Math.exp(-h));
const Phi = (h) => 0.5 * erfc(-h * SQRT_HALF);
const ACTIVATIONS = { // each with its derivative
  softplus: [(h) => (h > 0 ? h : 0) + Math.log(1 + Math.exp(h > 0 ? -h : h)), sigmoid], // twice as fast as by log1p
  silu: [(h) => h * sigmoid(h), (h) => sigmoid(h) * (1 + h * (1 - sigmoid(h)))],
  gelu: [(h) => h * Phi(h), (h) => Phi(h) + h * Math.exp(-0.5 * h * h) / Math.sqrt(2 * Math.PI)],
  tanh: [Math.tanh, (h) => 1 - Math.tanh(h) ** 2],
  relu: [(h) => Math.max(h, 0), (h) => (h > 0 ? 1 : 0)],
};
const EDGE_SHAPES = { // each with its derivative and its integral from 0
  tanh: [Math.tanh, (u) => 1 - Math.tanh(u) ** 2, (u) => Math.abs(u) + Math.log1p(Math.exp(-2 * Math.abs(u))) - Math.LN2],
  asinh: [Math.asinh, (u) => 1 / Math.sqrt(1 + u * u), (u) => u * Math.asinh(u) - Math.sqrt(1 + u * u) + 1],
};

// y = x W' + b for n rows. Blocks of four rows and two outputs: each number that is read is used two or four times.
function linear(x, n, { W, b, inputs, outputs }) {
  const y = new Float64Array(n * outputs), even = outputs - outputs % 2;
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const x0 = i * inputs, x1 = x0 + inputs, x2 = x1 + inputs, x3 = x2 + inputs;
    for (let j = 0; j < even; j += 2) {
      let s0 = b[j], s1 = s0, s2 = s0, s3 = s0, r0 = b[j + 1], r1 = r0, r2 = r0, r3 = r0;
      for (let k = 0, w = j * inputs, v = w + inputs; k < inputs; k++, w++, v++) {
        const p = W[w], q = W[v], a0 = x[x0 + k], a1 = x[x1 + k], a2 = x[x2 + k], a3 = x[x3 + k];
        s0 += p * a0; s1 += p * a1; s2 += p * a2; s3 += p * a3;
        r0 += q * a0; r1 += q * a1; r2 += q * a2; r3 += q * a3;
      }
      const y0 = i * outputs + j, y1 = y0 + outputs, y2 = y1 + outputs, y3 = y2 + outputs;
      y[y0] = s0; y[y1] = s1; y[y2] = s2; y[y3] = s3;
      y[y0 + 1] = r0; y[y1 + 1] = r1; y[y2 + 1] = r2; y[y3 + 1] = r3;
    }
  }
  for (let row = 0; row < n; row++) { // what is left: the last outputs of these rows, and the last rows
    for (let j = row < i ? even : 0; j < outputs; j++) {
      let sum = b[j];
      for (let k = 0; k < inputs; k++) sum += W[j * inputs + k] * x[row * inputs + k];
      y[row * outputs + j] = sum;
    }
  }
  return y;
}

// g W for n rows g: the gradient with respect to the inputs of a layer from that with respect to its outputs.
function back(g, n, { W, inputs, outputs }) {
  const x = new Float64Array(n * inputs);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < outputs; j++) {
      const value = g[i * outputs + j];
      for (let k = 0; k < inputs; k++) x[i * inputs + k] += value * W[j * inputs + k];
    }
  }
  return x;
}

class MLP {
  constructor({ widths, edges, edge_shape, potential, labelled, activation, embedding }, weights) {
    [this.activation, this.slope] = ACTIVATIONS[activation];
    this.embedding = EMBEDDINGS[nameOf(embedding)](embedding.init_args);
    let at = 0;
    const take = (n) => Float64Array.from(weights.subarray(at, at += n));
    const layer = (inputs, outputs) => ({ W: take(inputs * outputs), b: take(outputs), inputs, outputs });
    this.layers = widths.slice(1).map((outputs, l) => layer(widths[l], outputs));
    // Features f((v . x + b) exp(-4 c)) of the first layer: lines, seen in units of the noise. Those of a potential are
    // exp(4 c) times the integral of f, at distances that are shifted.
    this.lines = edges ? layer(2, edges) : null;
    if (edges) this.fromLines = { W: take(edges * widths[1]), b: new Float64Array(widths[1]), inputs: edges, outputs: widths[1] };
    this.shifts = edges && potential ? take(edges) : new Float64Array(edges);
    const [f, slope, integral] = EDGE_SHAPES[edge_shape];
    this.seen = potential ? (u, r) => r * integral(u) : f;
    this.bend = potential ? f : (u, r) => slope(u) / r;
    if (labelled) this.layers[0].b = plus(this.layers[0].b, [1, take(widths[1])]); // the vector of the class
  }

  // The layer's inputs for points and one conditioning number c.
  input(x, c) {
    const features = [0, 0, ...this.embedding(c)], width = features.length, rows = new Float64Array(x.length / 2 * width);
    for (let i = 0; i < x.length / 2; i++) {
      rows.set(features, i * width);
      rows[i * width] = x[2 * i];
      rows[i * width + 1] = x[2 * i + 1];
    }
    return rows;
  }

  // The distances to the lines in units of the noise.
  distances(x, c) {
    const scale = Math.exp(-4 * c), K = this.shifts.length;
    return linear(x, x.length / 2, this.lines).map((value, i) => scale * value + this.shifts[i % K]);
  }

  // The first layer's outputs.
  first(x, c) {
    const n = x.length / 2, h = linear(this.input(x, c), n, this.layers[0]);
    if (!this.lines) return h;
    const r = Math.exp(4 * c), features = this.distances(x, c).map((u) => this.seen(u, r));
    return plus(h, [1, linear(features, n, this.fromLines)]);
  }

  forward(x, c) {
    const n = x.length / 2;
    let h = this.first(x, c);
    for (const layer of this.layers.slice(1)) {
      for (let i = 0; i < h.length; i++) h[i] = this.activation(h[i]);
      h = linear(h, n, layer);
    }
    return h;
  }

  // The gradient with respect to the point of the sum of the outputs, by the chain rule from the last layer back.
  gradient(x, c) {
    const n = x.length / 2, before = [], [first, ...others] = this.layers;
    let h = this.first(x, c);
    for (const layer of others) {
      before.push(h);
      h = linear(h.map(this.activation), n, layer);
    }
    let g = new Float64Array(h.length).fill(1);
    for (let l = others.length - 1; l >= 0; l--) g = back(g, n, others[l]).map((value, i) => value * this.slope(before[l][i]));
    const inputs = back(g, n, first);
    const slope = Float64Array.from({ length: 2 * n }, (_, i) => inputs[(i >> 1) * first.inputs + (i & 1)]);
    if (!this.lines) return slope;
    const u = this.distances(x, c), r = Math.exp(4 * c);
    const bent = back(g, n, this.fromLines).map((value, i) => value * this.bend(u[i], r));
    return plus(slope, [1, back(bent, n, this.lines)]);
  }
}

class NetworkDenoiser {
  constructor({ parameterisation, conditioning, backbone, weights }, schedule) {
    this.schedule = schedule;
    this.factors = PARAMETERISATIONS[nameOf(parameterisation)](parameterisation.init_args);
    this.isEnergy = nameOf(parameterisation) === "Energy";
    this.conditioning = CONDITIONINGS[nameOf(conditioning)];
    this.mlp = new MLP(backbone, decoded(weights, Float32Array));
  }
  noise(x, t) {
    const [cIn, kSkip, kOut] = this.factors(t), c = this.conditioning(t), scaled = x.map((value) => cIn * value);
    const F = this.isEnergy ? this.mlp.gradient(scaled, c) : this.mlp.forward(scaled, c);
    return F.map((value, i) => kSkip * x[i] + kOut * value);
  }
}

// Distributions whose noisy density and score are exact: five families hold all of those of toy_score.
//
// `at(sigma)` prepares a noise level: `evaluate(x, y, out)` then writes log p_sigma to out[0] and its gradient, the
// score, to out[1] and out[2]; `parts` is how many terms that takes. `sample(n, random)` draws from the clean
// distribution, as [x0, y0, x1, y1, ...].

function makeDistribution(described) {
  const { label, family, bounds } = described;
  return { label, bounds, ...FAMILIES[family](numbersOf(described)) };
}

// The numbers of its family, those that are written as base64 text as arrays.
function numbersOf({ label, family, bounds, schedule, ...numbers }) {
  const read = (value) => (typeof value === "string" ? decoded(value, Float64Array) : value);
  return Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, read(value)]));
}

// The numbers that base64 text holds, as an array of the given type.
function decoded(text, Type) { return new Type(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer); }

// Adds parts given by log q_k and a gradient, scaled by the largest so far: a running logsumexp with its gradient.
class Sum {
  constructor() { this.clear(); }
  clear() { this.top = -Infinity; this.total = 0; this.gx = 0; this.gy = 0; }
  add(log, gx, gy) {
    if (log > this.top) {
      const shrink = Math.exp(this.top - log);
      this.total *= shrink; this.gx *= shrink; this.gy *= shrink;
      this.top = log;
    } else if (log < this.top - 45) return; // below rounding
    const w = Math.exp(log - this.top);
    this.total += w; this.gx += w * gx; this.gy += w * gy;
  }
  write(out) {
    out[0] = this.top + Math.log(this.total);
    out[1] = this.gx / this.total;
    out[2] = this.gy / this.total;
  }
}

// A mixture of Gaussians: component k is N(mu_k, S_k), under noise N(mu_k, S_k + sigma^2 I).
function gaussians({ mean, covariance, weight }) {
  const K = weight.length, edges = cumulative(weight);
  return {
    parts: K,
    at(sigma) {
      const v = sigma * sigma, p = new Float64Array(4 * K);
      for (let k = 0; k < K; k++) {
        const a = covariance[3 * k] + v, b = covariance[3 * k + 1], c = covariance[3 * k + 2] + v, det = a * c - b * b;
        p.set([c / det, -b / det, a / det, Math.log(weight[k]) - 0.5 * Math.log(det) - LOG_2PI], 4 * k);
      }
      return (x, y, out) => {
        let top = -Infinity, total = 0, gx = 0, gy = 0;
        for (let k = 0; k < K; k++) { // `Sum`, written out: forests of thousands of components are evaluated here
          const j = 4 * k, dx = x - mean[2 * k], dy = y - mean[2 * k + 1];
          const sx = p[j] * dx + p[j + 1] * dy, sy = p[j + 1] * dx + p[j + 2] * dy;
          const log = p[j + 3] - 0.5 * (dx * sx + dy * sy);
          if (log < top - 45) continue;
          if (log > top) {
            const shrink = Math.exp(top - log);
            total *= shrink; gx *= shrink; gy *= shrink;
            top = log;
          }
          const w = Math.exp(log - top);
          total += w; gx -= w * sx; gy -= w * sy;
        }
        out[0] = top + Math.log(total); out[1] = gx / total; out[2] = gy / total;
      };
    },
    sample: each((random) => gaussianPoint(random, choose(edges, random), mean, covariance)),
  };
}

// Gaussians that are each cut to a half-plane `a . (x - c) > 0`. With C = S + sigma^2 I and P = S C^-1, part k is
// N(x; mu, C) Phi((a . (mu - c) + a' P (x - mu)) / tau), tau^2 = sigma^2 a' P a, over its mass.
function halfPlanes({ mean, covariance, normal, edge, weight }) {
  const K = weight.length, edges = cumulative(weight), tail = new Float64Array(2);
  const offset = weight.map((_, k) => normal[2 * k] * (mean[2 * k] - edge[2 * k])
    + normal[2 * k + 1] * (mean[2 * k + 1] - edge[2 * k + 1]));
  const logWeight = weight.map((w, k) => {
    const [a, b] = normal.slice(2 * k), [s, r, q] = covariance.slice(3 * k);
    logNdtrAndHazard(offset[k] / Math.sqrt(a * a * s + 2 * a * b * r + b * b * q), tail);
    return Math.log(w) - tail[0] - LOG_2PI;
  });
  return {
    parts: K,
    at(sigma) {
      const v = sigma * sigma, sum = new Sum(), parts = [];
      for (let k = 0; k < K; k++) {
        const [s, r, q] = covariance.slice(3 * k), [a, b] = normal.slice(2 * k), detS = s * q - r * r;
        const det = detS + v * (s + q + v);
        const pa = ((detS + v * s) * a + v * r * b) / det, pb = (v * r * a + (detS + v * q) * b) / det;
        parts.push({ i: (q + v) / det, j: -r / det, l: (s + v) / det, pa, pb,
          tau: sigma * Math.sqrt(a * pa + b * pb), constant: logWeight[k] - 0.5 * Math.log(det) });
      }
      return (x, y, out) => {
        sum.clear();
        for (let k = 0; k < K; k++) {
          const p = parts[k], dx = x - mean[2 * k], dy = y - mean[2 * k + 1];
          const cx = p.i * dx + p.j * dy, cy = p.j * dx + p.l * dy;
          logNdtrAndHazard((offset[k] + p.pa * dx + p.pb * dy) / p.tau, tail);
          const h = tail[1] / p.tau;
          sum.add(p.constant - 0.5 * (dx * cx + dy * cy) + tail[0], h * p.pa - cx, h * p.pb - cy);
        }
        sum.write(out);
      };
    },
    sample: each((random) => {
      for (const k = choose(edges, random); ;) { // rejection: draw until the point is in its half-plane
        const [x, y] = gaussianPoint(random, k, mean, covariance);
        if (normal[2 * k] * (x - edge[2 * k]) + normal[2 * k + 1] * (y - edge[2 * k + 1]) > 0) return [x, y];
      }
    }),
  };
}

// Equal squares, evenly filled; under noise each is a product over its axes, see `interval`.
function boxes({ mean, half }) {
  const K = mean.length / 2, rows = [...new Set(mean.filter((_, i) => i % 2))];
  const columns = [...new Set(mean.filter((_, i) => i % 2 === 0))], log = new Float64Array(2);
  const indices = Array.from({ length: K }, (_, k) => [columns.indexOf(mean[2 * k]), rows.indexOf(mean[2 * k + 1])]);
  return {
    parts: K,
    at(sigma) {
      const sum = new Sum();
      const axis = (middles, z) => middles.map((m) => { interval(z - m, half, sigma, log); return [log[0], log[1]]; });
      return (x, y, out) => {
        const along = axis(columns, x), up = axis(rows, y);
        sum.clear();
        for (const [i, j] of indices) sum.add(along[i][0] + up[j][0] - Math.log(K), along[i][1], up[j][1]);
        sum.write(out);
      };
    },
    sample: each((random) => {
      const k = Math.floor(random.uniform() * K);
      return [0, 1].map((i) => mean[2 * k + i] + half * (2 * random.uniform() - 1));
    }),
  };
}

// The uniform law on [-w, w] under noise: log density at y and its slope. With a, b = (|y| -+ w) / sigma,
// D = (b^2 - a^2) / 2 and X(z) = exp(z^2 / 2) erfc(z / sqrt 2), outside (a > 0) the mass is
// exp(-a^2 / 2) (X(a) - exp(-D) X(b)) / 2, in which nothing underflows.
function interval(y, w, sigma, out) {
  const far = Math.abs(y), a = (far - w) / sigma, b = (far + w) / sigma, D = 2 * w * far / (sigma * sigma);
  let mass, drop, log = -Math.log(4 * w);
  if (a > 0) {
    mass = scaledErfc(a * SQRT_HALF) - Math.exp(-D) * scaledErfc(b * SQRT_HALF);
    drop = -Math.expm1(-D);
    log += Math.log(mass) - 0.5 * a * a;
  } else {
    mass = erfc(a * SQRT_HALF) - erfc(b * SQRT_HALF);
    drop = Math.exp(-0.5 * a * a) * -Math.expm1(-D);
    log += Math.log(mass);
  }
  out[0] = log;
  out[1] = -Math.sign(y) * Math.sqrt(2 / Math.PI) * drop / (mass * sigma);
}

// Concentric circles of some thickness: on one of radius R, with v = std^2 + sigma^2 and k = R r / v,
// log q = log I0e(k) - (r - R)^2 / 2v - log 2 pi v (Rice's law), and its gradient is (R I1(k) / (r I0(k)) - 1) x / v.
function rings({ radius, std }) {
  const bessel = new Float64Array(2);
  return {
    parts: radius.length,
    at(sigma) {
      const v = std * std + sigma * sigma, sum = new Sum(), constant = -Math.log(2 * Math.PI * v * radius.length);
      return (x, y, out) => {
        const r = Math.max(Math.hypot(x, y), 1e-30);
        sum.clear();
        for (const R of radius) {
          scaledBessel(R * r / v, bessel);
          const g = (R / r * bessel[1] / bessel[0] - 1) / v;
          sum.add(constant + Math.log(bessel[0]) - 0.5 * (r - R) ** 2 / v, g * x, g * y);
        }
        sum.write(out);
      };
    },
    sample: each((random) => {
      const R = radius[Math.floor(random.uniform() * radius.length)], angle = 2 * Math.PI * random.uniform();
      return [R * Math.cos(angle) + std * random.normal(), R * Math.sin(angle) + std * random.normal()];
    }),
  };
}

// Points, each as likely as any other: under noise, equal round Gaussians. There is no density at sigma = 0.
function points({ mean }) {
  const K = mean.length / 2;
  return {
    ...gaussians({ mean, covariance: new Float64Array(3 * K), weight: new Float64Array(K).fill(1 / K) }),
    sample: each((random) => { const k = Math.floor(random.uniform() * K); return [mean[2 * k], mean[2 * k + 1]]; }),
  };
}

const FAMILIES = { gaussians, halfPlanes, boxes, rings, points };

// Draws points one by one.
function each(draw) {
  return (n, random) => {
    const x = new Float64Array(2 * n);
    for (let i = 0; i < n; i++) x.set(draw(random), 2 * i);
    return x;
  };
}

function gaussianPoint(random, k, mean, covariance) {
  const l = Math.sqrt(covariance[3 * k]), m = l > 0 ? covariance[3 * k + 1] / l : 0;
  const z = random.normal(), rest = Math.sqrt(Math.max(covariance[3 * k + 2] - m * m, 0));
  return [mean[2 * k] + l * z, mean[2 * k + 1] + m * z + rest * random.normal()];
}

function cumulative(weights) {
  let sum = 0;
  return Array.from(weights, (w) => (sum += w));
}

function choose(edges, random) {
  const u = random.uniform() * edges[edges.length - 1];
  let low = 0, high = edges.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (edges[middle] > u) high = middle; else low = middle + 1;
  }
  return low;
}

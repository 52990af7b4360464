// A noisy observation of one coordinate, y = x0[axis] + std eta, of a point of a mixture of Gaussians: its exact posterior,
// and the exact denoiser of the prior, corrected for it by a rule (DPS, Chung et al. 2023; TMPD, Boys et al. 2023).

const RULES = ["DPS", "TMPD"];

// The mixture after the observation: with h the column of S for the axis, V = h[axis] + std^2 and e = y - mu[axis],
// mu' = mu + h e / V, S' = S - h h' / V, w' = w N(e; 0, V) / Z.
function afterObservation({ mean, covariance, weight }, { axis, value, std }) {
  const K = weight.length, other = 1 - axis, m = Float64Array.from(mean), S = Float64Array.from(covariance);
  const logs = new Float64Array(K);
  for (let k = 0; k < K; k++) {
    const h = [covariance[3 * k + axis], covariance[3 * k + axis + 1]], V = h[axis] + std * std, e = value - mean[2 * k + axis];
    m[2 * k] += h[0] * e / V;
    m[2 * k + 1] += h[1] * e / V;
    S[3 * k + 2 * axis] *= std * std / V;
    S[3 * k + 1] *= std * std / V;
    S[3 * k + 2 * other] -= h[other] ** 2 / V;
    logs[k] = Math.log(weight[k]) - 0.5 * (e * e / V + Math.log(V));
  }
  const top = logs.reduce((a, b) => Math.max(a, b)), w = logs.map((log) => Math.exp(log - top));
  const total = w.reduce((sum, value) => sum + value, 0);
  return { mean: m, covariance: S, weight: w.map((value) => value / total) };
}

// noise - r G, where G = J h (y - D[axis]) / (V + std^2), D is the denoised point at the noise level r and J = dD / dz its
// Jacobian, r^2 J being the covariance of the clean point; V is 0 for DPS and r^2 J[axis][axis] for TMPD.
class RuleDenoiser {
  constructor(mixture, observation, rule, schedule) { Object.assign(this, { ...mixture, ...observation, rule, schedule }); }

  noise(x, t) {
    const { mean, covariance, weight, axis, value, std } = this, K = weight.length, v = t.ratio ** 2;
    const parts = Array.from({ length: K }, (_, k) => {
      const [s, r, q] = covariance.slice(3 * k), detS = s * q - r * r, det = detS + v * (s + q + v); // of C = S + r^2 I
      return { a: (q + v) / det, b: -r / det, c: (s + v) / det, log: Math.log(weight[k]) - 0.5 * Math.log(det),
        M: [(detS + v * s) / det, v * r / det, (detS + v * q) / det] }; // S C^-1
    });
    const noise = new Float64Array(x.length), p = new Float64Array(K), mx = new Float64Array(K), my = new Float64Array(K);
    for (let i = 0; i < x.length; i += 2) {
      const zx = x[i] / t.alpha, zy = x[i + 1] / t.alpha;
      let top = -Infinity, total = 0, Dx = 0, Dy = 0, jx = 0, jy = 0;
      for (let k = 0; k < K; k++) { // the log of the weight of a part, and the mean of the clean point in it
        const { a, b, c, log, M } = parts[k], dx = zx - mean[2 * k], dy = zy - mean[2 * k + 1];
        p[k] = log - 0.5 * (a * dx * dx + 2 * b * dx * dy + c * dy * dy);
        mx[k] = mean[2 * k] + M[0] * dx + M[1] * dy;
        my[k] = mean[2 * k + 1] + M[1] * dx + M[2] * dy;
        top = Math.max(top, p[k]);
      }
      for (let k = 0; k < K; k++) total += p[k] = Math.exp(p[k] - top);
      for (let k = 0; k < K; k++) { p[k] /= total; Dx += p[k] * mx[k]; Dy += p[k] * my[k]; }
      for (let k = 0; k < K; k++) { // the column of J: the covariances within the parts and between them
        const { M } = parts[k], off = p[k] * (axis ? my[k] - Dy : mx[k] - Dx) / v;
        jx += p[k] * M[axis] + off * (mx[k] - Dx);
        jy += p[k] * M[axis + 1] + off * (my[k] - Dy);
      }
      const V = this.rule === "TMPD" ? v * (axis ? jy : jx) : 0, pull = t.ratio * (value - (axis ? Dy : Dx)) / (V + std * std);
      noise[i] = (zx - Dx) / t.ratio - pull * jx;
      noise[i + 1] = (zy - Dy) / t.ratio - pull * jy;
    }
    return noise;
  }
}

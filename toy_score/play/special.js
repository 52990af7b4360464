// Special functions of the normal law and of circles, in double precision.

const SQRT_HALF = Math.SQRT1_2, LOG_2PI = Math.log(2 * Math.PI);

// Rational approximations of erf on |x| < 0.46875 and of exp(x^2) erfc(x) above (Cody 1969, Mathematics of Computation).
const ERF = [[1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2,
  3.20937758913846947e3], [1, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
  2.84423683343917062e3]];
const MIDDLE = [[2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1,
  2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3],
[1, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
  3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3]];
const FAR = [[1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
  1.60837851487422766e-2, 6.58749161529837803e-4], [1, 2.56852019228982242, 1.87295284992346725,
  5.27905102951428412e-1, 6.05183413124413191e-2, 2.33520497626869185e-3]];

function polynomial(coefficients, x) {
  let sum = 0;
  for (let i = 0; i < coefficients.length; i++) sum = sum * x + coefficients[i];
  return sum;
}

function rational(pair, x) { return polynomial(pair[0], x) / polynomial(pair[1], x); }

// exp(x^2) erfc(x) for x >= 0: neither overflows nor underflows.
function scaledErfc(x) {
  if (x < 0.46875) return Math.exp(x * x) * (1 - x * rational(ERF, x * x));
  if (x <= 4) return rational(MIDDLE, x);
  const w = 1 / (x * x);
  return (1 / Math.sqrt(Math.PI) - w * rational(FAR, w)) / x;
}

function erfc(x) {
  const y = Math.exp(-x * x) * scaledErfc(Math.abs(x));
  return x < 0 ? 2 - y : y;
}

// log Phi(z), and the hazard phi(z) / Phi(z), its derivative; right in both tails. Written to out[0] and out[1].
function logNdtrAndHazard(z, out) {
  const u = Math.abs(z) * SQRT_HALF, scaled = scaledErfc(u);
  if (z < 0) {
    out[0] = Math.log(0.5 * scaled) - u * u;
    out[1] = Math.sqrt(2 / Math.PI) / scaled;
  } else {
    const upper = 0.5 * Math.exp(-u * u) * scaled;
    out[0] = Math.log1p(-upper);
    out[1] = Math.exp(-u * u) / Math.sqrt(2 * Math.PI) / (1 - upper);
  }
}

// exp(-k) I_0(k) and exp(-k) I_1(k), the modified Bessel functions, for k >= 0. Written to out[0] and out[1].
// Below 20: the mean of exp(k (cos a - 1)) (1 or cos a) over the circle, at 64 angles, right to rounding since the next
// harmonic is I_64(k). Above: Hankel's asymptotic series, whose smallest term is about exp(-2 k).
const COSINES = Array.from({ length: 33 }, (_, i) => Math.cos(Math.PI * i / 32));
function scaledBessel(k, out) {
  if (k < 20) {
    let zero = 0, one = 0;
    for (let i = 0; i <= 32; i++) {
      const value = Math.exp(k * (COSINES[i] - 1)) * (i % 32 ? 1 : 0.5);
      zero += value;
      one += value * COSINES[i];
    }
    out[0] = zero / 32;
    out[1] = one / 32;
    return;
  }
  for (let order = 0; order < 2; order++) {
    let term = 1, sum = 1;
    for (let n = 0; n < 20; n++) {
      term *= -(4 * order * order - (2 * n + 1) ** 2) / ((n + 1) * 8 * k);
      sum += term;
    }
    out[order] = sum / Math.sqrt(2 * Math.PI * k);
  }
}

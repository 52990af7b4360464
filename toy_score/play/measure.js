// Random numbers from a seed, and the distance between a cloud of points and the exact distribution.

// Uniform numbers by Marsaglia's xorshift (2003) of 32 bits after a scrambled seed; normal ones by Box and Muller.
class Random {
  constructor(seed) {
    this.state = (Math.imul(seed + 1, 0x9e3779b1) ^ 0x85ebca6b) | 1;
    for (let i = 0; i < 16; i++) this.uniform();
  }
  uniform() {
    let s = this.state;
    s ^= s << 13; s ^= s >>> 17; s ^= s << 5;
    this.state = s;
    return (s >>> 0) / 4294967296;
  }
  // One standard normal number, or an array of n.
  normal(n) {
    if (n !== undefined) return Float64Array.from({ length: n }, () => this.normal());
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }
}

// Sliced W1: the Wasserstein-1 distance on a line, averaged over evenly spaced directions. Its noise floor is the mean
// value for clouds of exact points of the same number.
class SlicedW1 {
  constructor(distribution, n, { directions = 16, multiple = 4, draws = 6, seed = 7 } = {}) {
    const random = new Random(seed), angles = Array.from({ length: directions }, (_, k) => Math.PI * k / directions);
    this.n = n;
    this.directions = angles.map((a) => [Math.cos(a), Math.sin(a)]);
    this.reference = this.draw(distribution, multiple * n, random);
    this.clouds = Array.from({ length: draws }, () => this.draw(distribution, n, random));
  }
  draw(distribution, n, random) { return { x: distribution.sample(n, random), z: random.normal(2 * n) }; }
  at(ratio) { // of the distribution under noise of that level
    const noisy = ({ x, z }) => plus(x, [ratio, z]);
    const reference = this.projections(noisy(this.reference));
    const floors = this.clouds.map((cloud) => distanceOf(this.projections(noisy(cloud)), reference));
    const floor = floors.reduce((sum, value) => sum + value, 0) / floors.length;
    return { floor, distance: (y) => distanceOf(this.projections(y), reference) };
  }
  projections(y) {
    return this.directions.map(([c, s]) =>
      Float64Array.from({ length: y.length / 2 }, (_, i) => c * y[2 * i] + s * y[2 * i + 1]).sort());
  }
}

// Mean over the directions of the mean distance of sorted points, of which the reference has a multiple.
function distanceOf(projections, reference) {
  let sum = 0;
  for (const [k, y] of reference.entries()) {
    const x = projections[k], multiple = y.length / x.length;
    for (let i = 0; i < y.length; i++) sum += Math.abs(x[Math.floor(i / multiple)] - y[i]) / y.length;
  }
  return sum / reference.length;
}

// Drawing: the plane with its density, arrows, points and paths, and the chart of the cloud's quality.

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// A canvas as sharp as the screen, its context in CSS pixels.
function sharp(canvas) {
  const box = canvas.getBoundingClientRect(), scale = window.devicePixelRatio || 1;
  const width = Math.max(Math.round(box.width * scale), 1), height = Math.max(Math.round(box.height * scale), 1);
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, box.width, box.height);
  return { context, width: box.width, height: box.height };
}

// Half the side of the window in which data of the given bounds are seen at a noise level: it holds nearly all of them.
function halfWidth(bounds, ratio) { return Math.hypot(bounds, 3 * ratio); }

// Numbers for people: three digits.
function short(value) {
  if (value === 0) return "0";
  return Math.abs(value) >= 1000 || Math.abs(value) < 0.001 ? value.toExponential(1) : String(+value.toPrecision(3));
}

class Plane {
  constructor(canvas) { this.canvas = canvas; this.image = document.createElement("canvas"); }

  begin(half) {
    Object.assign(this, sharp(this.canvas), { half });
    this.context.fillStyle = colour("card");
    this.context.fillRect(0, 0, this.width, this.height);
  }

  toPixel(x, y, half = this.half) {
    return [(x / half + 1) * 0.5 * this.width, (1 - y / half) * 0.5 * this.height];
  }

  fromEvent(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(2 * (event.clientX - box.left) / box.width - 1) * this.half,
      (1 - 2 * (event.clientY - box.top) / box.height) * this.half];
  }

  // Values in [0, 1] on a square grid as an image of one colour.
  heat(values, side, rgb) {
    const image = new ImageData(side, side), parts = rgb.split(",").map(Number);
    for (let i = 0; i < values.length; i++) image.data.set([...parts, 255 * values[i]], 4 * i);
    this.image.width = this.image.height = side;
    this.image.getContext("2d").putImageData(image, 0, 0);
    this.context.imageSmoothingQuality = "high";
    this.context.drawImage(this.image, 0, 0, this.width, this.height);
  }

  arrows(points, vectors, longest, name, side) {
    const { context } = this, cell = this.width / side;
    context.strokeStyle = context.fillStyle = colour(name);
    context.lineWidth = 1.3;
    for (let i = 0; i < points.length; i += 2) {
      const length = Math.hypot(vectors[i], vectors[i + 1]), [px, py] = this.toPixel(points[i], points[i + 1]);
      if (!(length > 0)) continue;
      const size = cell * 0.95 * Math.min(Math.sqrt(length / longest), 1); // the root: short arrows stay visible
      const ux = vectors[i] / length, uy = -vectors[i + 1] / length, head = Math.min(0.35 * size, 5);
      const tx = px + ux * size, ty = py + uy * size;
      context.globalAlpha = 0.35 + 0.65 * size / cell;
      context.beginPath();
      context.moveTo(px, py);
      context.lineTo(tx, ty);
      context.stroke();
      context.beginPath();
      context.moveTo(tx + ux, ty + uy);
      context.lineTo(tx - head * ux + 0.6 * head * uy, ty - head * uy - 0.6 * head * ux);
      context.lineTo(tx - head * ux - 0.6 * head * uy, ty - head * uy + 0.6 * head * ux);
      context.fill();
    }
    context.globalAlpha = 1;
  }

  // Points given in window coordinates, -1 to 1.
  dots(points, name, radius) {
    const { context } = this;
    context.fillStyle = colour(name);
    context.strokeStyle = colour("paper");
    context.lineWidth = 0.7;
    for (let i = 0; i < points.length; i += 2) {
      const [x, y] = this.toPixel(points[i], points[i + 1], 1);
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
    }
  }

  path(points, name, { dashed = false, marks = true } = {}) {
    const { context } = this;
    context.strokeStyle = context.fillStyle = colour(name);
    context.lineWidth = 2.4;
    context.lineJoin = "round";
    context.setLineDash(dashed ? [5, 5] : []);
    context.beginPath();
    points.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](...this.toPixel(x, y)));
    context.stroke();
    context.setLineDash([]);
    for (const [i, [x, y]] of points.entries()) {
      const last = i === points.length - 1;
      if (!last && (!marks || points.length > 60)) continue;
      context.beginPath();
      context.arc(...this.toPixel(x, y), last ? 6 : 2.6, 0, 2 * Math.PI);
      context.fill();
    }
  }

  // An observed coordinate: a line, and a band of one standard deviation on both sides.
  band({ axis, value, std }) {
    const { context, width, height } = this;
    const [low, middle, high] = [value - std, value, value + std].map((u) => this.toPixel(u, u)[axis]);
    const first = Math.min(low, high), size = Math.abs(high - low);
    context.fillStyle = context.strokeStyle = colour("data");
    context.globalAlpha = 0.14;
    context.fillRect(...(axis ? [0, first, width, size] : [first, 0, size, height]));
    context.globalAlpha = 1;
    context.lineWidth = 1.5;
    context.setLineDash([6, 5]);
    context.beginPath();
    context.moveTo(...(axis ? [0, middle] : [middle, 0]));
    context.lineTo(...(axis ? [width, middle] : [middle, height]));
    context.stroke();
    context.setLineDash([]);
  }

  start(x, y) {
    const { context } = this, [px, py] = this.toPixel(x, y);
    context.strokeStyle = colour("ink");
    context.lineWidth = 2;
    context.beginPath();
    context.arc(px, py, 7, 0, 2 * Math.PI);
    context.stroke();
  }

  axes() {
    const { context, half, width, height } = this, step = roundStep(half / 2.2);
    context.fillStyle = colour("soft");
    context.strokeStyle = colour("line");
    context.lineWidth = 1;
    context.font = "11px system-ui, sans-serif";
    for (let k = -Math.floor(half / step); k * step <= half; k++) {
      const [x, y] = this.toPixel(k * step, k * step), text = short(+(k * step).toPrecision(6));
      context.beginPath();
      context.moveTo(x, height); context.lineTo(x, height - 6);
      context.moveTo(0, y); context.lineTo(6, y);
      context.stroke();
      context.textAlign = "center";
      if (x > 30 && x < width - 24) context.fillText(text, x, height - 10);
      context.textAlign = "left";
      if (y > 30 && y < height - 30) context.fillText(text, 10, y + 4);
    }
    context.font = "italic 13px Georgia, serif";
    context.textAlign = "right";
    context.fillText("x", width - 8, height - 9);
    context.textAlign = "left";
    context.fillText("y", 10, 16);
  }

  message(text) {
    this.context.fillStyle = colour("soft");
    this.context.font = "16px system-ui, sans-serif";
    this.context.textAlign = "center";
    this.context.fillText(text, this.width / 2, this.height / 2);
  }
}

// 1, 2 or 5 times a power of ten, the nearest below.
function roundStep(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [5, 2, 1].find((m) => m * power <= value);
}

// The quality of the cloud along its way: multiples of the noise floor against the noise level, which falls to the right.
function drawQuality(canvas, history, [low, high]) {
  const { context, width, height } = sharp(canvas), left = 34, right = 12, top = 12, bottom = 34;
  const most = Math.max(4, ...history.map((h) => h.multiple)) * 1.1, ceiling = Math.log10(most), ground = Math.log10(0.5);
  const fx = (ratio) => left + (width - left - right) * Math.log(high / Math.max(ratio, low)) / Math.log(high / low);
  const fy = (m) => height - bottom - (height - top - bottom) * (Math.log10(Math.max(m, 0.5)) - ground) / (ceiling - ground);
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = colour("soft");
  context.strokeStyle = colour("line");
  const marks = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].filter((m) => m < most && (most < 30 || [1, 10, 100, 1000].includes(m)));
  for (const mark of marks) {
    context.setLineDash(mark === 1 ? [] : [2, 4]);
    context.strokeStyle = colour(mark === 1 ? "soft" : "line");
    context.beginPath();
    context.moveTo(left, fy(mark)); context.lineTo(width - right, fy(mark));
    context.stroke();
    context.textAlign = "right";
    context.fillText(`${mark}×`, left - 6, fy(mark) + 4);
  }
  context.setLineDash([]);
  context.textAlign = "center";
  for (let power = Math.ceil(Math.log10(low)); 10 ** power <= high; power++) {
    context.fillText(short(10 ** power), fx(10 ** power), height - bottom + 15);
  }
  context.fillText("noise level σ of the cloud, falling to the data", left + (width - left - right) / 2, height - 4);
  context.strokeStyle = context.fillStyle = colour("cloud");
  context.lineWidth = 2;
  context.beginPath();
  history.forEach((h, i) => context[i ? "lineTo" : "moveTo"](fx(h.ratio), fy(h.multiple)));
  context.stroke();
  for (const h of history.slice(-1)) {
    context.beginPath();
    context.arc(fx(h.ratio), fy(h.multiple), 4, 0, 2 * Math.PI);
    context.fill();
  }
}

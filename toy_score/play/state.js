// The state of the page, which the address holds after `#`: a link shows what its sender saw.

const START = {
  data: PAGE.start.data, network: PAGE.start.network, field: PAGE.start.network >= 0 ? "learned" : "exact", density: 1,
  level: 0.5, first: PAGE.start.sampler, firstSteps: PAGE.start.steps, second: "Euler", secondSteps: 10, grid: "own",
  x: null, y: null, slow: 0, theme: "", seed: 0, own: "", seen: 0, value: 1, std: 0.3, rule: "TMPD",
};
const OWN = PAGE.distributions.length - 1; // the last choice of data: the points that are drawn
const OWN_SCALE = 4096, MOST_OWN = 400;

function readState(hash) {
  const state = { ...START };
  for (const [name, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (!(name in START)) continue;
    const number = Number(text), isText = typeof START[name] === "string";
    if (isText) state[name] = text;
    else if (text !== "" && Number.isFinite(number)) state[name] = number;
  }
  return valid(state);
}

// What an address may not say is replaced by what the page starts with.
function valid(state) {
  const within = (value, length, lowest = 0) => Number.isInteger(value) && value >= lowest && value < length;
  if (!within(state.data, PAGE.distributions.length)) state.data = START.data;
  if (!within(state.network, PAGE.networks.length, -1)) state.network = START.network;
  for (const name of ["first", "second"]) if (!(state[name] in PAGE.samplers)) state[name] = START[name];
  for (const name of ["firstSteps", "secondSteps"]) if (!within(state[name], 1001, 1)) state[name] = START[name];
  if (state.grid !== "own" && !(state.grid in PAGE.grids)) state.grid = START.grid;
  if (!["learned", "exact", "difference", "none"].includes(state.field)) state.field = START.field;
  if (!(state.level > 0)) state.level = START.level;
  if (!within(state.seen, 3)) state.seen = START.seen;
  if (!(Math.abs(state.value) <= 1000)) state.value = START.value;
  if (!(state.std >= 0.01 && state.std <= 1000)) state.std = START.std;
  if (!RULES.includes(state.rule)) state.rule = START.rule;
  return state;
}

function writeState(state) {
  const changed = Object.entries(state).filter(([name, value]) => value !== START[name] && value !== null);
  const short = changed.map(([name, value]) => [name, typeof value === "number" ? String(+value.toPrecision(6)) : value]);
  history.replaceState(null, "", `#${new URLSearchParams(short)}`);
}

// Own points as text: pairs of 16-bit integers, in units of 1 / 4096, as base64 that addresses allow.
function encodeOwn(points) {
  const numbers = Int16Array.from(points, (v) => Math.max(Math.min(Math.round(v * OWN_SCALE), 32767), -32768));
  return btoa(String.fromCharCode(...new Uint8Array(numbers.buffer))).replaceAll("+", "-").replaceAll("/", "_");
}

function decodeOwn(text) {
  try {
    const numbers = decoded(text.replaceAll("-", "+").replaceAll("_", "/"), Int16Array);
    return Array.from(numbers.subarray(0, 2 * MOST_OWN), (v) => v / OWN_SCALE).slice(0, 2 * (numbers.length >> 1));
  } catch {
    return []; // an address that was cut
  }
}

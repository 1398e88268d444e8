// The page's work: noise follows the learned velocity to a code, the decoder makes it ink, the pen draws the ink.
const settings = await (await fetch("settings.json")).json();
const get = id => document.getElementById(id), say = words => { get("status").textContent = words; };
const { side, parts } = settings, size = settings.code.reduce((a, b) => a * b), fineSide = side * parts;
const nobody = { description: Float32Array.from(settings.nobody), count: 0 };
let ort, sessions;

// ---- the graphs

let turn = Promise.resolve();
function run(name, inputs) { // one at a time; inputs are name: [values, ...shape]
  const feeds = Object.fromEntries(Object.entries(inputs).map(([key, [values, ...shape]]) =>
    [key, new ort.Tensor("float32", Float32Array.from(values), shape)]));
  const done = turn.then(() => sessions[name].run(feeds));
  turn = done.catch(() => {});
  return done;
}
const joined = arrays => {
  const out = new Float32Array(arrays.length * arrays[0].length);
  arrays.forEach((one, k) => out.set(one, k * one.length));
  return out;
};

async function velocity(z, t, people) { // of the same code by each of `people`
  const n = people.length, out = (await run("velocity", {
    z: [joined(people.map(() => z)), n, ...settings.code], t: [new Float32Array(n).fill(t), n],
    description: [joined(people.map(one => one.description)), n, nobody.description.length],
    count: [people.map(one => one.count), n],
  })).velocity.data;
  return people.map((_, k) => out.subarray(k * size, (k + 1) * size));
}

async function flow(noise, person, steps = settings.steps, wanted = () => true) { // `Flow.sample`; null: not wanted
  const times = settings.times[steps], guided = person.count && steps === settings.steps;
  let z = Float32Array.from(noise), before = null, push = new Float32Array(size);
  for (let k = 0; k < steps; k++) {
    if (!wanted()) return null;
    const step = times[k + 1] - times[k];
    const [own, without] = await velocity(z, times[k], guided && k % 2 ? [person, nobody] : [person]);
    if (without) push = own.map((value, i) => (settings.guidance - 1) * (value - without[i]));
    const now = own.map((value, i) => value + push[i]);
    const past = before, bend = k ? 0.5 * step / (times[k] - times[k - 1]) : 0;
    z = z.map((value, i) => value + step * (now[i] + (past ? bend * (now[i] - past[i]) : 0)));
    before = now;
  }
  return z;
}

async function decode(z) { // raw ink, as the encoder takes it, and strokes as `render` draws them, 0 or 1 at each part
  const { ink, sharp } = await run("decoder", { z: [z, 1, ...settings.code] });
  const strokes = (await run("pen", { ink: [findInk(sharp.data), 1, 1, side, side] })).strokes.data;
  return { ink: ink.data, strokes: withoutDust(strokes) };
}
async function encode(ink) {
  const { z, description } = await run("encoder", { ink: [ink, 1, 1, side, side] });
  return { z: z.data, description: description.data };
}
async function sign(person, noise = normal(), steps = settings.steps, wanted = () => true) {
  const z = await flow(noise, person, steps, wanted);
  return z && decode(z);
}

// ---- `render.render`, what is not in the graphs: connected pieces of ink

function around(at, width, visit) { // the eight neighbours of a pixel of a square picture
  const x = at % width, y = (at - x) / width;
  for (let v = Math.max(0, y - 1); v <= Math.min(width - 1, y + 1); v++)
    for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) if (u !== x || v !== y) visit(v * width + u);
}
function pieces(mask, width) { // the pixels of each connected piece, and each pixel's piece, 0 for none
  const number = new Int32Array(mask.length), found = [null];
  for (let start = 0; start < mask.length; start++) {
    if (!mask[start] || number[start]) continue;
    const piece = [start], n = found.push(piece) - 1;
    number[start] = n;
    for (let k = 0; k < piece.length; k++) around(piece[k], width, next => {
      if (mask[next] && !number[next]) { number[next] = n; piece.push(next); }
    });
  }
  return { number, found };
}
function findInk(sharp) {
  const ink = Float32Array.from(sharp, value => value > settings.ink ? 1 : 0), { number } = pieces(ink, side);
  for (const link of pieces(sharp.map((value, i) => value > settings.link && !ink[i] ? 1 : 0), side).found.slice(1)) {
    const beside = new Set();
    for (const at of link) around(at, side, next => { if (number[next]) beside.add(number[next]); });
    if (beside.size > 1) for (const at of link) ink[at] = 1;
  }
  return ink;
}
function withoutDust(strokes) {
  for (const piece of pieces(strokes, fineSide).found.slice(1))
    if (piece.length < settings.speck * parts ** 2) for (const at of piece) strokes[at] = 0;
  return strokes;
}

function normal() { // Box and Muller 1958
  return Float32Array.from({ length: size }, () =>
    Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random()));
}

// ---- what is on the page

function show(canvas, strokes) {
  canvas.width = canvas.height = fineSide;
  const image = new ImageData(fineSide, fineSide);
  strokes.forEach((value, i) => { image.data[4 * i + 3] = 255 * value; });
  canvas.getContext("2d").putImageData(image, 0, 0);
}
function append(strip, strokes, words) {
  const paper = document.createElement("div"), canvas = document.createElement("canvas");
  paper.className = "paper";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", words);
  paper.append(canvas);
  strip.append(paper);
  show(canvas, strokes);
}
const counts = {};
function newest(name) { // whether what was begun under a name is still the last of it
  const mine = counts[name] = (counts[name] || 0) + 1;
  return () => counts[name] === mine;
}
let working = 0;
async function work(task) { // errors are shown where the user looks, then thrown
  document.body.dataset.state = "working";
  working++;
  try {
    return await task();
  } catch (error) {
    say(`No picture: ${error.message}`);
    throw error;
  } finally {
    if (!--working) document.body.dataset.state = "ready";
  }
}
const painted = () => new Promise(go => requestAnimationFrame(() => setTimeout(go)));

function live(canvas, where) { // a picture that follows sliders: first in few steps, then in all
  let asked = 0, since = 0, busy = false;
  return () => work(async () => {
    asked++;
    since = performance.now();
    if (busy) return;
    busy = true;
    try {
      for (let done = 0; done !== asked;) {
        done = asked;
        const begun = since, [person, noise] = where(), took = [];
        for (const steps of [settings.preview, settings.steps]) {
          const drawn = await sign(person, noise, steps, () => steps === settings.preview || done === asked);
          if (!drawn) break;
          show(canvas, drawn.strokes);
          await painted();
          took.push(Math.round(performance.now() - begun));
        }
        if (took.length > 1)
          say(`Slider to picture: ${took[0]} ms in ${settings.preview} steps, ${took[1]} ms in ${settings.steps}.`);
      }
    } finally {
      busy = false;
    }
  });
}

let known = [], held = normal(), between = normal(), there = nobody; // descriptions, noise, the other person
function personOf(descriptions) { // `Flow.people`
  const some = descriptions.slice(0, settings.references), n = some.length;
  return n ? { description: some[0].map((_, i) => some.reduce((sum, one) => sum + one[i], 0) / n), count: n } : nobody;
}
const here = () => personOf(known.slice(0, 1)); // as the sliders' directions are: of one signature
async function signAgain(wanted = () => true) {
  const drawn = await sign(personOf(known), normal(), settings.steps, wanted);
  if (!drawn) return;
  const { description } = await encode(drawn.ink);
  if (!wanted()) return;
  known.push(description);
  append(get("strip"), drawn.strokes, `Signature ${get("strip").children.length + 1} of this person`);
}
function become(descriptions) { // somebody else is the person above
  known = descriptions;
  get("strip").replaceChildren();
  held = normal();
  for (const input of get("sliders").querySelectorAll("input")) place(input, 0);
}
const newPerson = () => work(async () => {
  const wanted = newest("person");
  become([]);
  const begun = performance.now();
  await signAgain(wanted);
  if (!wanted()) return;
  say(`A new person, drawn in ${Math.round(performance.now() - begun)} ms.`);
  await Promise.all([follow(), mix()]);
});

function place(input, value) {
  input.value = value;
  input.dispatchEvent(new Event("label"));
}
settings.directions.forEach(({ name }, k) => {
  const box = document.createElement("div");
  box.className = "slider";
  box.innerHTML = `<label for="d${k}">${name}</label><output for="d${k}"></output>
    <input id="d${k}" type="range" min="-3" max="3" step="0.1" value="0" disabled>`;
  const [, output, input] = box.children;
  const label = () => { output.textContent = (input.value < 0 ? "" : "+") + Number(input.value).toFixed(1); };
  input.addEventListener("label", label);
  input.addEventListener("input", () => { label(); follow(); });
  label();
  get("reset").before(box);
});
function moved() {
  const { description, count } = here(), out = Float32Array.from(description);
  settings.directions.forEach(({ axis }, k) => {
    const much = Number(get(`d${k}`).value);
    axis.forEach((value, i) => { out[i] += much * value; });
  });
  return { description: out, count };
}
function mixed() {
  const share = Number(get("between").value) / 100, { description } = here();
  return { description: description.map((value, i) => (1 - share) * value + share * there.description[i]), count: 1 };
}
const follow = live(get("moved"), () => [moved(), held]), mix = live(get("middle"), () => [mixed(), between]);
const another = () => work(async () => {
  const drawn = await sign(nobody);
  there = { description: (await encode(drawn.ink)).description, count: 1 };
  await mix();
});

get("new").onclick = newPerson;
get("again").onclick = () => work(async () => {
  const begun = performance.now();
  await signAgain();
  say(`Signed again in ${Math.round(performance.now() - begun)} ms.`);
});
get("reset").onclick = () => {
  for (const input of get("sliders").querySelectorAll("input")) place(input, 0);
  follow();
};
get("between").oninput = () => { get("share").textContent = `${get("between").value} %`; mix(); };
get("other").onclick = another;

// ---- your signature

const pad = get("pad"), pen = { x: 0, y: 0, down: false, keys: false };
let strokes = [], own = null;
pad.width = 2 * (pad.height = 2 * side);
pen.x = pad.width / 4;
pen.y = pad.height / 2;
function trace(context, lines, width, to = p => p) {
  Object.assign(context, { lineWidth: width, lineCap: "round", lineJoin: "round" });
  context.beginPath();
  for (const line of lines) {
    context.moveTo(...to(line[0]));
    for (const point of line) context.lineTo(...to(point));
  }
  context.stroke();
}
function repaint() {
  const context = pad.getContext("2d");
  context.clearRect(0, 0, pad.width, pad.height);
  trace(context, strokes, 4);
  if (pen.keys) {
    context.beginPath();
    context.arc(pen.x, pen.y, 6, 0, 7);
    pen.down ? context.fill() : context.stroke();
  }
}
function inkOf(lines) { // `normalise_mask` of a pen of even width: tight, centred, binary
  const { fine, longest, stroke } = settings, all = lines.flat(), wide = side * fine;
  const low = [0, 1].map(k => all.reduce((least, p) => Math.min(least, p[k]), Infinity));
  const high = [0, 1].map(k => all.reduce((most, p) => Math.max(most, p[k]), -Infinity));
  const zoom = (longest - stroke) * fine / Math.max(high[0] - low[0], high[1] - low[1], 0.2 * pad.width);
  const context = new OffscreenCanvas(wide, wide).getContext("2d", { willReadFrequently: true });
  trace(context, lines, stroke * fine, p => p.map((v, k) => wide / 2 + zoom * (v - (low[k] + high[k]) / 2)));
  const { data } = context.getImageData(0, 0, wide, wide), ink = new Float32Array(side ** 2);
  for (let i = 0; i < wide ** 2; i++)
    if (data[4 * i + 3] > 127) ink[Math.floor(i / wide / fine) * side + Math.floor((i % wide) / fine)] += 1;
  return ink.map(count => count >= fine ** 2 / 2 ? 1 : 0);
}
const drawnNow = vary => work(async () => {
  const wanted = newest("own"), begun = performance.now();
  repaint();
  const empty = !strokes.length;
  for (const id of ["clear", "undo", "vary", "take"]) get(id).disabled = empty;
  if (empty) {
    own = null;
    for (const canvas of [get("redrawn"), ...get("varied").querySelectorAll("canvas")]) canvas.width = fineSide;
    return;
  }
  own = await encode(inkOf(strokes));
  if (!wanted()) return;
  show(get("redrawn"), (await decode(own.z)).strokes);
  await painted();
  say(`Redrawn in ${Math.round(performance.now() - begun)} ms.`);
  if (!vary) return;
  const person = { description: own.description, count: 1 };
  for (let k = 0; k < 4; k++) {
    const drawn = await sign(person, normal(), settings.steps, wanted);
    if (!drawn || !wanted()) return;
    if (!k) get("varied").replaceChildren();
    append(get("varied"), drawn.strokes, `Signed as you do, ${k + 1} of 4`);
  }
  say(`Redrawn, and signed four times as you do, in ${Math.round(performance.now() - begun)} ms.`);
});
const at = event => {
  const box = pad.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * pad.width, (event.clientY - box.top) / box.height * pad.height];
};
let pointer = null;
pad.onpointerdown = event => {
  if (!sessions || pointer !== null || event.button) return;
  pointer = event.pointerId;
  pad.setPointerCapture(pointer);
  pen.keys = pen.down = false;
  strokes.push([at(event)]);
  repaint();
};
pad.onpointermove = event => {
  if (event.pointerId !== pointer) return;
  const seen = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  strokes.at(-1).push(...(seen.length ? seen : [event]).map(at));
  repaint();
};
pad.onpointerup = pad.onpointercancel = event => {
  if (event.pointerId !== pointer) return;
  pointer = null;
  drawnNow(true);
};
pad.onkeydown = event => {
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!sessions || (!way && event.key !== " " && event.key !== "Backspace")) return;
  event.preventDefault();
  pen.keys = true;
  if (event.key === "Backspace") return get("undo").click();
  if (way) {
    pen.x = Math.min(pad.width, Math.max(0, pen.x + 8 * way[0]));
    pen.y = Math.min(pad.height, Math.max(0, pen.y + 8 * way[1]));
    if (pen.down) strokes.at(-1).push([pen.x, pen.y]);
  } else if ((pen.down = !pen.down)) strokes.push([[pen.x, pen.y]]);
  else return drawnNow(true);
  repaint();
};
pad.onblur = () => {
  if (pen.down) { pen.down = false; drawnNow(true); }
  pen.keys = false;
  repaint();
};
get("clear").onclick = () => { strokes = []; pen.down = false; drawnNow(false); };
get("undo").onclick = () => { strokes.pop(); pen.down = false; drawnNow(false); };
get("vary").onclick = () => drawnNow(true);
get("take").onclick = () => work(async () => {
  newest("person");
  become([own.description]);
  append(get("strip"), (await decode(own.z)).strokes, "Your signature, redrawn");
  say("You are the person above now.");
  await Promise.all([follow(), mix()]);
});

// ---- the beginning

await work(async () => {
  const begun = performance.now(), from = new URL(settings.ort, location.href).href;
  ort = await import(`${from}ort.wasm.min.mjs`);
  Object.assign(ort.env.wasm, { wasmPaths: from, proxy: true }); // in a worker: the page stays quick
  const found = {};
  for (const name of ["encoder", "velocity", "decoder", "pen"])
    found[name] = await ort.InferenceSession.create(new URL(`${name}.onnx`, location.href).href);
  sessions = found;
  const took = Math.round(performance.now() - begun);
  await sign(nobody, normal(), settings.preview); // the first run of a graph is slow
  say(`The network is loaded, in ${took} ms.`);
  for (const control of document.querySelectorAll("#new, #again, #reset, input")) control.disabled = false;
  get("other").disabled = false;
  there = { description: (await encode((await sign(nobody, normal(), settings.preview)).ink)).description, count: 1 };
  await newPerson();
});
window.sigen = { settings, sign, encode, decode, inkOf, nobody }; // for the tests, and for the curious

"use strict";

const THEMES = ["system", "light", "dark"];
const MOST_BARS = 10;
const MOST_ROWS = 3; // of a layer's maps, until its button is pressed
const VALUE = 12; // pixels of a value of a vector
const PAUSE = 250; // milliseconds without a change before it is asked which pixels count

const element = (id) => document.getElementById(id);
const network = JSON.parse(element("network").textContent);
const shown = new Set(network.nodes.filter(({ hidden }) => !hidden).map(({ name }) => name));
const whole = new Set(); // layers of which all maps are shown
let latest = null, allBars = false;

// ---- theme: as the system has it, light, or dark ----

function storedTheme() {
  try { return localStorage.getItem("theme") || "system"; } catch { return "system"; } // storage may be forbidden
}

function showTheme(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  element("theme").textContent = `Theme: ${name}`;
}

function nextTheme() {
  const name = THEMES[(THEMES.indexOf(element("theme").textContent.slice(7)) + 1) % THEMES.length];
  try { localStorage.setItem("theme", name); } catch { /* then it holds for this view only */ }
  return name;
}

// ---- the network, in a worker where the browser allows one ----

function started(receive) {
  const sources = `${element("core").textContent}
const receive = worker((message) => postMessage(message)); onmessage = ({ data }) => receive(data);`;
  let send;
  try {
    const other = new Worker(URL.createObjectURL(new Blob([sources], { type: "text/javascript" })));
    other.onmessage = ({ data }) => receive(data);
    other.onerror = ({ message }) => receive({ kind: "error", id: number, text: `the network stopped (${message})` });
    send = (message) => other.postMessage(message);
  } catch {
    const here = worker((message) => receive(message));
    send = (message) => setTimeout(() => here(message));
  }
  send({ kind: "start", network });
  return send;
}

// ---- a picture at a time: what changed meanwhile is sent when the answer is there ----

let number = 0, busy = false, waiting = false, timer = 0;

function ask() {
  element("start").hidden = !pad.empty;
  element("invert").hidden = !pad.image;
  clearTimeout(timer);
  if (pad.empty) return forget();
  waiting = busy;
  if (busy) return;
  busy = true;
  tell("");
  try {
    send({ kind: "classify", id: ++number, ...pad.pixels() });
  } catch (error) {
    busy = false;
    tell(`this browser cannot read the picture's pixels (${error.message})`);
  }
}

function forget() {
  number++;
  busy = false;
  waiting = false;
  latest = null;
  tell("");
  element("label").textContent = "–";
  element("sure").textContent = "";
  showBars(null);
  for (const id of ["seen", "importance"]) {
    sized(element(id), { height: network.input[1], width: network.input[2] }); // empties it
  }
  element("importance-text").textContent = "Which pixels count";
  showLayers();
}

function receive(message) {
  if (message.id !== number) return;
  if (message.kind === "importance") return showImportance(message);
  busy = false;
  if (message.kind === "error") {
    forget();
    return tell(message.text);
  }
  latest = message;
  latest.map = null;
  showAnswer();
  if (waiting) return ask();
  timer = setTimeout(() => send({ kind: "explain", id: number }), PAUSE);
}

function tell(text) {
  element("error").hidden = !text;
  element("error").textContent = text;
}

// ---- the answer ----

const percent = (value) => `${(100 * value).toFixed(value > 0.9995 || value < 0.0995 ? 2 : 1)} %`;

function showAnswer() {
  const { index, scores } = latest, name = network.classes[index];
  element("label").textContent = name;
  element("label").classList.toggle("long", name.length > 8);
  element("sure").textContent = percent(scores[index]);
  showBars(scores);
  const context = sized(element("seen"), latest.seen);
  context.putImageData(imageOf(latest.seen), 0, 0);
  showImportance({ share: 0 });
  showLayers();
}

/** Few classes in their order, so that bars stay in their places; of many the likeliest ones. */
function showBars(scores) {
  const count = network.classes.length, every = [...network.classes.keys()];
  const short = count > MOST_BARS && !allBars;
  const order = count <= MOST_BARS || !scores ? every : every.sort((a, b) => scores[b] - scores[a] || a - b);
  const first = scores ? latest.index : -1;
  element("bars").replaceChildren(...order.slice(0, short ? MOST_BARS : count).map((index) => {
    const row = document.createElement("li"), value = scores ? scores[index] : 0;
    const [name, bar, text] = ["name", "bar", "value"].map((kind) => {
      const part = document.createElement("span");
      part.className = kind;
      return part;
    });
    name.classList.toggle("first", index === first);
    name.textContent = network.classes[index];
    bar.append(document.createElement("i"));
    bar.firstChild.style.width = `${100 * value}%`;
    text.textContent = scores ? percent(value) : "";
    row.append(name, bar, text);
    return row;
  }));
  element("more").hidden = count <= MOST_BARS;
  element("more").textContent = short ? `Show all ${count} classes` : "Show fewer classes";
}

// ---- pictures of numbers ----

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function rgb(name) {
  const hex = colour(name);
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function sized(canvas, { height, width }) {
  [canvas.width, canvas.height] = [width, height];
  return canvas.getContext("2d");
}

function imageOf({ channels, height, width, data }) {
  const image = new ImageData(width, height), count = height * width;
  for (let n = 0; n < count; n++) {
    for (let c = 0; c < 3; c++) image.data[4 * n + c] = data[(channels === 3 ? c : 0) * count + n];
    image.data[4 * n + 3] = 255;
  }
  return image;
}

/** Numbers as colours: nothing at 0, orange above, blue below, full at `most`. */
function coloured(values, height, width, most, [above, below, ground]) {
  const image = new ImageData(width, height);
  values.forEach((value, n) => {
    const share = Math.min(Math.abs(value) / (most || 1), 1), full = value > 0 ? above : below;
    for (let c = 0; c < 3; c++) image.data[4 * n + c] = ground[c] + (full[c] - ground[c]) * share;
    image.data[4 * n + 3] = 255;
  });
  return image;
}

const palette = () => [rgb("--series-2"), rgb("--series-1"), rgb("--stripe")];
const largest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

function showImportance({ share, map }) {
  const { seen, index } = latest, canvas = element("importance"), text = element("importance-text");
  const context = sized(canvas, seen);
  if (!map) {
    text.textContent = `Which pixels count: ${Math.round(100 * share)} %`;
    context.putImageData(imageOf(seen), 0, 0);
    context.globalAlpha = 0.75;
    context.fillStyle = colour("--stripe");
    context.fillRect(0, 0, seen.width, seen.height);
    return;
  }
  latest.map = map;
  text.textContent = `Which pixels count for ${network.classes[index]}`;
  const image = coloured(map, seen.height, seen.width, largest(map), palette()), picture = imageOf(seen);
  const paper = paperOf(seen), count = seen.height * seen.width;
  for (let n = 0; n < count; n++) { // the picture shows through, as a shade of what differs from its paper
    const ink = Math.abs(seen.data[n] - paper[0]) / 255;
    for (let c = 0; c < 3; c++) image.data[4 * n + c] += (picture.data[4 * n + c] - image.data[4 * n + c]) * 0.3 * ink;
  }
  context.putImageData(image, 0, 0);
}

// ---- layers ----

function showLayers() {
  for (const id of ["layers", "layers-key"]) element(id).hidden = !latest;
  element("layers-start").hidden = Boolean(latest);
  if (!latest) return;
  for (const node of network.nodes) if (shown.has(node.name)) showLayer(node);
}

/** The place of a layer: made at first, later the same one. */
function boxOf(node) {
  const id = `layer-${network.nodes.indexOf(node)}`;
  if (element(id)) return element(id);
  const box = document.createElement("div"), title = document.createElement("h3"), shape = document.createElement("span");
  box.id = id;
  title.textContent = node.title;
  shape.className = "shape";
  shape.textContent = node.shape.length === 3
    ? `${node.shape[0]} maps of ${node.shape[2]}×${node.shape[1]}` : `${node.shape[0]} values`;
  title.append(shape);
  const canvas = document.createElement("canvas"), button = document.createElement("button");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${node.title}, ${shape.textContent}`);
  button.type = "button";
  button.addEventListener("click", () => {
    if (!whole.delete(node.name)) whole.add(node.name);
    showLayer(node);
  });
  box.append(title, canvas, button);
  element("layers").append(box);
  return box;
}

function showLayer(node) {
  const [, canvas, button] = boxOf(node).children, gap = 4, room = roomForLayers(), vector = node.shape.length !== 3;
  const [count, height, width] = vector ? [1, ...gridOf(node.shape[0])] : node.shape;
  const side = Math.max(height, width), wanted = vector || side === 1 ? VALUE * side : room < 600 ? 44 : 56;
  const scale = Math.min(Math.max(Math.round(wanted / side), 1), room / width), [w, h] = [width * scale, height * scale];
  const columns = Math.max(1, Math.min(count, Math.floor((room + gap) / (w + gap))));
  const most = whole.has(node.name) ? count : Math.min(count, MOST_ROWS * columns);
  button.hidden = count <= MOST_ROWS * columns;
  button.textContent = whole.has(node.name) ? "Show fewer" : `Show all ${count} maps`;
  const size = { width: columns * (w + gap) - gap, height: Math.ceil(most / columns) * (h + gap) - gap };
  const dots = Math.min(window.devicePixelRatio || 1, 2);
  const context = sized(canvas, { width: Math.round(size.width * dots), height: Math.round(size.height * dots) });
  [canvas.style.width, canvas.style.height] = [`${size.width}px`, "auto"];
  const colours = palette(), { data } = latest.layers.find(({ name }) => name === node.name), full = largest(data);
  const small = document.createElement("canvas");
  context.imageSmoothingEnabled = scale < 1;
  for (let n = 0; n < most; n++) {
    const part = data.subarray(n * height * width, (n + 1) * height * width);
    sized(small, { height, width }).putImageData(coloured(part, height, width, full, colours), 0, 0);
    const x = (n % columns) * (w + gap), y = Math.floor(n / columns) * (h + gap);
    context.drawImage(small, x * dots, y * dots, w * dots, h * dots);
  }
}

const roomForLayers = () => Math.max(element("layers").clientWidth, 100);

/** Rows and columns for the values of a vector. */
function gridOf(count) {
  const columns = Math.min(count, 64, Math.floor(roomForLayers() / VALUE));
  return [Math.ceil(count / columns), columns];
}

// ---- pictures from elsewhere ----

async function take(file) {
  if (!file) return;
  try {
    pad.show(await decoded(file));
  } catch (error) {
    tell(error.message);
  }
}

const stream = { tracks: [] };

async function openCamera() {
  if (matchMedia("(pointer: coarse)").matches || !navigator.mediaDevices) return element("capture").click();
  try {
    const media = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    stream.tracks = media.getTracks();
    element("video").srcObject = media;
    element("camera").showModal();
  } catch (error) {
    tell(`no camera can be used here (${error.message}): choose a picture instead`);
  }
}

async function shoot() {
  const { videoWidth: width, videoHeight: height } = element("video"), side = Math.min(width, height);
  if (!side) return; // the camera has shown nothing yet
  pad.show(await createImageBitmap(element("video"), (width - side) / 2, (height - side) / 2, side, side));
  element("camera").close();
}

function closeCamera() {
  for (const track of stream.tracks) track.stop();
  stream.tracks = [];
}

function save() {
  const canvas = document.createElement("canvas"), { rgba, width, height } = pad.pixels();
  sized(canvas, { width, height }).putImageData(new ImageData(rgba, width, height), 0, 0);
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = "picture.png";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
}

// ---- hands ----

function showPaper(paper) {
  element("sheet").classList.toggle("white", paper === "white");
  element("paper").textContent = `Paper: ${paper}`;
}

const pad = new Pad(element("pad"), element("cursor"), network.paper, ask);
const send = started(receive);
const redraw = () => {
  if (latest) showImportance({ share: 0, map: latest.map });
  showLayers();
};

showTheme(storedTheme());
showPaper(network.paper);
forget();
element("theme").addEventListener("click", () => { showTheme(nextTheme()); redraw(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
element("clear").addEventListener("click", () => pad.clear());
element("undo").addEventListener("click", () => pad.undo());
element("paper").addEventListener("click", () => {
  const paper = pad.paper === "white" ? "black" : "white";
  showPaper(paper);
  pad.setPaper(paper);
});
element("width").addEventListener("input", (event) => { pad.width = event.target.value / 100; });
element("more").addEventListener("click", () => { allBars = !allBars; showBars(latest && latest.scores); });
for (const id of ["file", "capture"]) {
  element(id).addEventListener("change", (event) => { take(event.target.files[0]); event.target.value = ""; });
}
element("photo").addEventListener("click", openCamera);
element("shoot").addEventListener("click", shoot);
element("close").addEventListener("click", () => element("camera").close());
element("camera").addEventListener("close", closeCamera);
element("save").addEventListener("click", save);
element("invert").addEventListener("click", async () => pad.show(await negative(pad.image)));
addEventListener("dragover", (event) => { event.preventDefault(); element("sheet").classList.add("over"); });
addEventListener("dragleave", () => element("sheet").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  element("sheet").classList.remove("over");
  take(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => take(event.clipboardData.files[0]));
let resizing = 0;
addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(redraw, 150); });

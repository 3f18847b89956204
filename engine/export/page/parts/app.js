"use strict";

const THEMES = ["system", "light", "dark"];
const MOST_BARS = 10;
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

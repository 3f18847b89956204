"use strict";

// What is seen of numbers: the pixels that count, and the maps of the layers. `network`, `latest`, `shown` and `whole`
// stand in app.js.

const MOST_ROWS = 3; // of a layer's maps, until its button is pressed
const VALUE = 12; // pixels of a value of a vector

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
  const [box, title, shape] = ["div", "h3", "span"].map((kind) => document.createElement(kind));
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
  const scale = Math.min(Math.max(Math.round(wanted / side), 1), room / width);
  const [w, h] = [width * scale, height * scale];
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

"use strict";

// ---- the sheet: strokes by mouse, pen, finger or arrow keys; or a picture that lies on it ----

const KEY_STEP = 1 / 40; // of the sheet's side
const PAPER = { black: "#000000", white: "#ffffff" };

class Pad {
  constructor(canvas, cursor, paper, changed) {
    this.canvas = canvas;
    this.cursor = cursor;
    this.paper = paper;
    this.changed = changed;
    this.width = 0.09;
    this.strokes = [];
    this.image = null; // an ImageBitmap instead of strokes
    this.at = [0.5, 0.3];
    this.down = false;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => this.end());
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("focus", () => this.showCursor(canvas.matches(":focus-visible")));
    canvas.addEventListener("blur", () => this.lift());
    this.draw();
  }

  get empty() { return this.strokes.length === 0 && !this.image; }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  begin(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.canvas.focus({ preventScroll: true, focusVisible: false });
    this.showCursor(false);
    this.canvas.setPointerCapture(event.pointerId);
    this.stroke(this.place(event));
    this.pointer = event.pointerId;
  }

  move(event) {
    if (this.pointer !== event.pointerId) return;
    const places = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const each of places.length ? places : [event]) this.strokes.at(-1).points.push(this.place(each));
    this.draw();
    this.changed();
  }

  end() {
    if (this.pointer === undefined) return;
    this.pointer = undefined;
    this.changed();
  }

  stroke(place) {
    this.image = null;
    this.strokes.push({ width: this.width, points: [place] });
    this.draw();
    this.changed();
  }

  key(event) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (!move && event.key !== " " && event.key !== "Delete" && event.key !== "Backspace") return;
    event.preventDefault();
    this.showCursor(true);
    if (event.key === "Delete") return this.clear();
    if (event.key === "Backspace") return this.undo();
    if (event.key === " ") return this.down ? this.lift() : this.putDown();
    const step = event.shiftKey ? 3 * KEY_STEP : KEY_STEP;
    this.at = this.at.map((value, n) => Math.min(Math.max(value + step * move[n], 0), 1));
    if (this.down) {
      this.strokes.at(-1).points.push(this.at);
      this.draw();
      this.changed();
    }
    this.showCursor(true);
  }

  putDown() {
    this.down = true;
    this.stroke(this.at);
    this.showCursor(true);
  }

  lift() {
    const was = this.down;
    this.down = false;
    this.showCursor(document.activeElement === this.canvas && was);
    if (was) this.changed();
  }

  showCursor(shown) {
    this.cursor.hidden = !shown;
    this.cursor.classList.toggle("down", this.down);
    [this.cursor.style.left, this.cursor.style.top] = this.at.map((value) => `${100 * value}%`);
  }

  undo() {
    if (this.image) return this.clear();
    this.strokes.pop();
    this.down = false;
    this.draw();
    this.changed();
  }

  clear() {
    this.strokes = [];
    this.image = null;
    this.down = false;
    this.draw();
    this.changed();
  }

  show(image) {
    this.strokes = [];
    this.image = image;
    this.draw();
    this.changed();
  }

  setPaper(paper) {
    this.paper = paper;
    this.draw();
    if (!this.image) this.changed();
  }

  draw() {
    const { context, canvas: { width, height } } = this;
    context.fillStyle = PAPER[this.paper];
    context.fillRect(0, 0, width, height);
    if (this.image) {
      const scale = Math.min(width / this.image.width, height / this.image.height);
      const size = [this.image.width * scale, this.image.height * scale];
      context.imageSmoothingEnabled = scale < 1;
      context.drawImage(this.image, (width - size[0]) / 2, (height - size[1]) / 2, ...size);
      return;
    }
    context.strokeStyle = PAPER[this.paper === "black" ? "white" : "black"];
    context.lineCap = context.lineJoin = "round";
    for (const { width: share, points } of this.strokes) {
      context.lineWidth = share * Math.min(width, height);
      context.beginPath();
      context.moveTo(points[0][0] * width, points[0][1] * height);
      for (const [x, y] of points.length > 1 ? points.slice(1) : points) context.lineTo(x * width, y * height);
      context.stroke();
    }
  }

  /** What the network is given: the picture in its own size, on white where it is transparent; or the sheet. */
  pixels() {
    if (!this.image) {
      const { width, height } = this.canvas;
      return { rgba: this.context.getImageData(0, 0, width, height).data, width, height };
    }
    return pixelsOf(this.image);
  }
}

function pixelsOf(image) {
  const { width, height } = image, canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, width, height);
  context.drawImage(image, 0, 0);
  return { rgba: context.getImageData(0, 0, width, height).data, width, height };
}

/** The same picture with dark and light exchanged. */
function negative(image) {
  const { rgba, width, height } = pixelsOf(image);
  for (let n = 0; n < rgba.length; n++) if (n % 4 !== 3) rgba[n] = 255 - rgba[n];
  return createImageBitmap(new ImageData(rgba, width, height));
}

/** The picture in a file: upright, and without its colour profile, as `engine.predict` takes it. */
async function decoded(file) {
  let image;
  try {
    image = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    throw new Error(`${file.name || "the file"}: this browser reads no picture in it`);
  }
  if (image.width * image.height > 8192 * 8192) throw new Error(`${file.name}: more than 8192×8192 pixels`);
  return image;
}

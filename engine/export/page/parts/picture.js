"use strict";

// What is done to a picture before the network sees it, to the same bytes as OpenCV does it for `engine.predict`.
// A picture is { channels, height, width, data }: bytes, one channel after the other.

function picture(channels, height, width) {
  return { channels, height, width, data: new Uint8Array(channels * height * width) };
}

/** A number of float32 to the nearest whole one, halves to the even one, within a byte. */
function byte(value) {
  const low = Math.floor(value), rest = value - low;
  const whole = rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low;
  return Math.min(Math.max(whole, 0), 255);
}

function fromRGBA(rgba, width, height) {
  const result = picture(3, height, width), count = height * width;
  for (let n = 0; n < count; n++) for (let c = 0; c < 3; c++) result.data[c * count + n] = rgba[4 * n + c];
  return result;
}

/** The weights of red, green and blue are those of ITU-R BT.601, in 1 / 32768. */
function grey(image) {
  if (image.channels === 1) return image;
  const { height, width, data } = image, count = height * width, result = picture(1, height, width);
  for (let n = 0; n < count; n++) {
    result.data[n] = (9798 * data[n] + 19235 * data[count + n] + 3735 * data[2 * count + n] + 16384) >> 15;
  }
  return result;
}

// ---- resizing ----

/** Applies a function plane(source, target) to each channel; each is { height, width, data }. */
function eachChannel(image, height, width, work) {
  const result = picture(image.channels, height, width);
  const [from, to] = [image.height * image.width, height * width];
  for (let c = 0; c < image.channels; c++) {
    work(image.data.subarray(c * from, (c + 1) * from), result.data.subarray(c * to, (c + 1) * to));
  }
  return result;
}

function resized(image, height, width) {
  if (image.height === height && image.width === width) return image;
  const shrinks = height <= image.height && width <= image.width;
  if (!shrinks) return resizedLinear(image, height, width);
  const whole = image.height % height === 0 && image.width % width === 0;
  return whole ? resizedByBlocks(image, height, width) : resizedByArea(image, height, width);
}

/** Means of whole blocks. Of 2 x 2 pixels halves are rounded up, of others to even. */
function resizedByBlocks(image, height, width) {
  const rows = image.height / height, columns = image.width / width;
  const factor = Math.fround(1 / (rows * columns)), square = rows === 2 && columns === 2;
  return eachChannel(image, height, width, (source, target) => {
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        let sum = 0;
        for (let r = 0; r < rows; r++) {
          const start = (y * rows + r) * image.width + x * columns;
          for (let c = 0; c < columns; c++) sum += source[start + c];
        }
        target[at] = square ? (sum + 2) >> 2 : byte(Math.fround(Math.fround(sum) * factor));
      }
    }
  });
}

/** For each place of the target, the places of the source that it covers, [place, share]. */
function coverage(from, to) {
  const scale = 1 / (to / from);
  return Array.from({ length: to }, (_, place) => {
    const begin = place * scale, end = begin + scale, cell = Math.min(scale, from - begin);
    const last = Math.min(Math.floor(end), from - 1), first = Math.min(Math.ceil(begin), last);
    const found = [];
    if (first - begin > 1e-3) found.push([first - 1, Math.fround((first - begin) / cell)]);
    for (let each = first; each < last; each++) found.push([each, Math.fround(1 / cell)]);
    if (end - last > 1e-3) found.push([last, Math.fround(Math.min(end - last, 1, cell) / cell)]);
    return found;
  });
}

/** Sums of shares, in float32: over a row first, then over the rows. */
function resizedByArea(image, height, width) {
  const rows = coverage(image.height, height), columns = coverage(image.width, width);
  return eachChannel(image, height, width, (source, target) => {
    const sums = new Float32Array(width);
    for (let y = 0; y < height; y++) {
      sums.fill(0);
      for (const [row, part] of rows[y]) {
        for (let x = 0; x < width; x++) {
          let sum = 0;
          for (const [column, share] of columns[x]) {
            sum = Math.fround(sum + Math.fround(source[row * image.width + column] * share));
          }
          sums[x] += Math.fround(sum * part);
        }
      }
      for (let x = 0; x < width; x++) target[y * width + x] = byte(sums[x]);
    }
  });
}

const UNIT = 2048; // weights of linear and cubic interpolation are whole numbers of 1 / 2048
const unit = (weight) => {
  const value = Math.fround(weight) * UNIT, low = Math.floor(value), rest = value - low;
  return rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low;
};

/** The first of the two places round each place of the target, and the share of the second in float32. */
function neighbours(from, to) {
  const scale = 1 / (to / from);
  return Array.from({ length: to }, (_, place) => {
    const at = Math.fround((place + 0.5) * scale - 0.5), first = Math.floor(at);
    return { first, share: Math.fround(at - first) };
  });
}

function resizedLinear(image, height, width) {
  const held = (place, extent) => Math.min(Math.max(place, 0), extent - 1);
  const columns = neighbours(image.width, width).map(({ first, share }) => {
    if (first < 0) return [0, 0, UNIT, 0];
    if (first >= image.width - 1) return [image.width - 1, image.width - 1, UNIT, 0];
    return [first, first + 1, unit(1 - share), unit(share)];
  });
  const rows = neighbours(image.height, height).map(({ first, share }) =>
    [held(first, image.height), held(first + 1, image.height), unit(1 - share), unit(share)]);
  return eachChannel(image, height, width, (source, target) => {
    const pixel = (row, column) => source[row * image.width + column];
    const mix = (row, [a, b, left, right]) => pixel(row, a) * left + pixel(row, b) * right;
    for (let y = 0, at = 0; y < height; y++) {
      const [upper, lower, above, below] = rows[y];
      for (let x = 0; x < width; x++, at++) {
        const first = (above * (mix(upper, columns[x]) >> 4)) >> 16;
        const second = (below * (mix(lower, columns[x]) >> 4)) >> 16;
        target[at] = Math.min((first + second + 2) >> 2, 255);
      }
    }
  });
}

/** Four times as large, by Keys's cubic with a = -3/4: its weights at eighths are whole numbers of 1 / 2048. */
function enlarged(image, factor) {
  const a = -0.75, height = image.height * factor, width = image.width * factor;
  const inner = (d) => ((a + 2) * d - (a + 3)) * d * d + 1, outer = (d) => ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  const taps = (from, to) => neighbours(from, to).map(({ first, share }) =>
    [outer(1 + share), inner(share), inner(1 - share), outer(2 - share)].map((weight, n) =>
      [Math.min(Math.max(first - 1 + n, 0), from - 1), unit(weight)]));
  const rows = taps(image.height, height), columns = taps(image.width, width);
  return eachChannel(image, height, width, (source, target) => {
    const across = new Float64Array(image.height * width);
    for (let y = 0; y < image.height; y++) {
      for (let x = 0; x < width; x++) {
        for (const [column, weight] of columns[x]) across[y * width + x] += source[y * image.width + column] * weight;
      }
    }
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        let sum = 0;
        for (const [row, weight] of rows[y]) sum += across[row * width + x] * weight;
        target[at] = byte(sum / (UNIT * UNIT));
      }
    }
  });
}

// ---- steps ----

const inverted = (image) => ({ ...image, data: image.data.map((value) => 255 - value) });

/** The largest (or smallest) value in a square of this side round each pixel; what lies outside does not count. */
function extreme(image, side, better) {
  const { height, width } = image, reach = (side - 1) / 2;
  const line = (source, target, count, step, starts) => {
    for (const start of starts) {
      for (let n = 0; n < count; n++) {
        let best = source[start + n * step];
        for (let near = Math.max(n - reach, 0); near <= Math.min(n + reach, count - 1); near++) {
          best = better(best, source[start + near * step]);
        }
        target[start + n * step] = best;
      }
    }
  };
  return eachChannel(image, height, width, (source, target) => {
    const across = new Uint8Array(source.length);
    line(source, across, width, 1, Array.from({ length: height }, (_, y) => y * width));
    line(across, target, height, width, Array.from({ length: width }, (_, x) => x));
  });
}

function repeated(image, { kernel, times }, better) {
  return extreme(image, times * (kernel - 1) + 1, better); // squares one after the other are one larger square
}

function openedBySquares(image, settings) {
  return repeated(repeated(image, settings, Math.min), settings, Math.max);
}

/** The median of the outermost pixels of each channel; of an even number the mean of the middle two, rounded down. */
function paperOf({ channels, height, width, data }) {
  return Array.from({ length: channels }, (_, c) => {
    const plane = data.subarray(c * height * width, (c + 1) * height * width), border = [];
    border.push(...plane.subarray(0, width), ...plane.subarray((height - 1) * width));
    for (let y = 0; y < height; y++) border.push(plane[y * width], plane[(y + 1) * width - 1]);
    border.sort((a, b) => a - b);
    return (border[border.length / 2 - 1] + border[border.length / 2]) >> 1;
  });
}

/** The value that parts two heaps of values best (Otsu 1979): ink is what lies above. */
function otsu(values) {
  const counts = new Float64Array(256), tiny = 1.1920929e-7;
  for (const value of values) counts[value]++;
  let mean = 0, lower = 0, share = 0, most = 0, best = 0;
  for (let n = 0; n < 256; n++) mean += n * counts[n] / values.length;
  for (let n = 0; n < 256; n++) {
    const part = counts[n] / values.length;
    lower *= share;
    share += part;
    const rest = 1 - share;
    if (Math.min(share, rest) < tiny || Math.max(share, rest) > 1 - tiny) continue;
    lower = (lower + n * part) / share;
    const between = share * rest * (lower - (mean - share * lower) / rest) ** 2;
    if (between > most) [most, best] = [between, n];
  }
  return best;
}

/** The rows and columns of the ink, ends exclusive; null for an empty sheet. */
function inkBox(image, kernel, contrast) {
  const plane = grey(image), [paper] = paperOf(plane), { height, width } = plane;
  const strength = plane.data.map((value) => Math.abs(value - paper));
  if (!strength.some((value) => value >= contrast)) return null;
  const limit = otsu(strength), mask = { ...plane, data: strength.map((value) => (value > limit ? 255 : 0)) };
  const ink = openedBySquares(mask, { kernel, times: 1 }).data;
  let [top, left, bottom, right] = [height, width, 0, 0];
  for (let n = 0; n < ink.length; n++) {
    if (!ink[n]) continue;
    const y = Math.floor(n / width), x = n % width;
    [top, left] = [Math.min(top, y), Math.min(left, x)];
    [bottom, right] = [Math.max(bottom, y + 1), Math.max(right, x + 1)];
  }
  return bottom ? { top, left, bottom, right } : null;
}

function cropped(image, top, left, height, width) {
  return eachChannel(image, height, width, (source, target) => {
    for (let y = 0; y < height; y++) {
      const start = (top + y) * image.width + left;
      target.set(source.subarray(start, start + width), y * width);
    }
  });
}

function croppedToInk(image, { kernel, margin, contrast }) {
  const box = inkBox(image, kernel, contrast);
  if (!box) return image;
  const top = Math.max(box.top - margin, 0), left = Math.max(box.left - margin, 0);
  const bottom = Math.min(box.bottom + margin, image.height), right = Math.min(box.right + margin, image.width);
  return cropped(image, top, left, bottom - top, right - left);
}

function squared(image, { value }) {
  const side = Math.max(image.height, image.width);
  const top = Math.floor((side - image.height) / 2), left = Math.floor((side - image.width) / 2);
  return eachChannel(image, side, side, (source, target) => {
    target.fill(value);
    for (let y = 0; y < image.height; y++) {
      target.set(source.subarray(y * image.width, (y + 1) * image.width), (top + y) * side + left);
    }
  });
}

const STEPS = {
  reverse: inverted,
  dilation: (image, settings) => repeated(image, settings, Math.max),
  erosion: (image, settings) => repeated(image, settings, Math.min),
  opening: openedBySquares,
  bbox: croppedToInk,
  pad: squared,
};

// ---- all of it ----

/** A picture as the network's bytes. */
function prepared(raw, { channels, enlarge, steps, size }) {
  let image = channels === 1 ? grey(raw) : raw;
  if (enlarge && Math.max(image.height, image.width) < enlarge.below) image = enlarged(image, enlarge.factor);
  for (const { name, settings } of steps) image = STEPS[name](image, settings);
  return size ? resized(image, ...size) : image;
}

/** What an image's own values make of them: [factor, offset]. */
function ownFactors({ data }, { per_image: perImage, standardise }) {
  if (standardise === "image") {
    let sum = 0, squares = 0;
    for (const value of data) sum += value;
    const mean = sum / data.length;
    for (const value of data) squares += (value - mean) ** 2;
    const deviation = Math.max(Math.sqrt(squares / data.length), data.length ** -0.5);
    return [1 / deviation, -mean / deviation];
  }
  if (!perImage) return [1, 0];
  let low = 255, high = 0;
  for (const value of data) [low, high] = [Math.min(low, value), Math.max(high, value)];
  const stretch = high > low ? 255 / (high - low) : 0;
  return [stretch, -low * stretch];
}

/** The bytes as the numbers that the network takes. */
function normalised(image, preprocess) {
  const [own, ownOffset] = ownFactors(image, preprocess), { factor, offset, mean, std } = preprocess;
  const count = image.height * image.width, result = new Float32Array(image.data.length);
  for (let c = 0, at = 0; c < image.channels; c++) {
    const [middle, width] = [mean[c % mean.length], std[c % std.length]];
    const scale = Math.fround(own * (factor / width));
    const shift = Math.fround((ownOffset * factor + offset - middle) / width);
    for (let n = 0; n < count; n++, at++) result[at] = Math.fround(image.data[at] * scale) + shift;
  }
  return result;
}

"use strict";

// A tensor is { shape, data }: shape [channels, height, width] or [features], data a Float32Array in that order. Every
// function of LAYERS takes a node (its settings and the shape of its output), the tensors that it reads and its arrays,
// and gives the data of its output. Each store into a Float32Array rounds to float32. Convolutions, linear layers and
// what only moves numbers work on an Int32Array as well (see integers.js).

const area = (tensor) => tensor.data.length / tensor.shape[0];

/** Zeros for a tensor of this shape, as the data are stored. */
const zeros = (shape, data) => new data.constructor(shape.reduce((product, extent) => product * extent, 1));

// ---- padding ----

function mirrored(place, extent) {
  const inside = place < 0 ? -place : place;
  return inside < extent ? inside : 2 * (extent - 1) - inside;
}

const PLACES = {
  zeros: (place, extent) => (place < 0 || place >= extent ? -1 : place),
  reflect: mirrored,
  replicate: (place, extent) => Math.min(Math.max(place, 0), extent - 1),
};

function padded({ shape: [channels, height, width], data }, [top, bottom, left, right], mode) {
  if (top + bottom + left + right === 0) return { shape: [channels, height, width], data };
  const shape = [channels, top + height + bottom, left + width + right];
  const result = zeros(shape, data);
  const columns = Array.from({ length: shape[2] }, (_, x) => PLACES[mode](x - left, width));
  let at = 0;
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < shape[1]; y++) {
      const row = PLACES[mode](y - top, height);
      const start = (c * height + row) * width;
      for (const column of columns) result[at++] = row < 0 || column < 0 ? 0 : data[start + column];
    }
  }
  return { shape, data: result };
}

// ---- convolutions ----

/** result[at + n] += factor * source[from + n * step], for n below count. */
function addScaled(result, at, source, from, step, count, factor) {
  if (step === 1) for (let n = 0; n < count; n++) result[at + n] += factor * source[from + n];
  else for (let n = 0; n < count; n++) result[at + n] += factor * source[from + n * step];
}

function addBias(data, bias, count) {
  if (!bias) return;
  for (let c = 0, at = 0; c < bias.length; c++) for (let n = 0; n < count; n++, at++) data[at] += bias[c];
}

function convolution({ settings, shape }, [input], { weights, bias }) {
  const { kernel: [kh, kw], stride: [sh, sw], dilation: [dh, dw], groups, pads, padding_mode: mode } = settings;
  const { shape: [channels, height, width], data } = padded(input, pads, mode);
  const [filters, oh, ow] = shape;
  const inputs = channels / groups, result = zeros(shape, data);
  for (let o = 0; o < filters; o++) {
    const first = Math.floor(o / (filters / groups)) * inputs;
    for (let i = 0; i < inputs; i++) {
      for (let y = 0; y < kh; y++) {
        for (let x = 0; x < kw; x++) {
          const weight = weights[((o * inputs + i) * kh + y) * kw + x];
          for (let row = 0; row < oh; row++) {
            const from = ((first + i) * height + row * sh + y * dh) * width + x * dw;
            addScaled(result, (o * oh + row) * ow, data, from, sw, ow, weight);
          }
        }
      }
    }
  }
  addBias(result, bias, oh * ow);
  return result;
}

function transposedConvolution({ settings, shape }, [{ shape: [channels, height, width], data }], { weights, bias }) {
  const { kernel: [kh, kw], stride: [sh, sw], dilation: [dh, dw], groups, pads: [top, , left] } = settings;
  const [filters, oh, ow] = shape;
  const outputs = filters / groups, result = zeros(shape, data);
  for (let i = 0; i < channels; i++) {
    const first = Math.floor(i / (channels / groups)) * outputs;
    for (let o = 0; o < outputs; o++) {
      for (let y = 0; y < kh; y++) {
        for (let x = 0; x < kw; x++) {
          const weight = weights[((i * outputs + o) * kh + y) * kw + x];
          for (let h = 0; h < height; h++) {
            const row = h * sh + y * dh - top;
            if (row < 0 || row >= oh) continue;
            for (let w = 0; w < width; w++) {
              const column = w * sw + x * dw - left;
              if (column < 0 || column >= ow) continue;
              result[((first + o) * oh + row) * ow + column] += weight * data[(i * height + h) * width + w];
            }
          }
        }
      }
    }
  }
  addBias(result, bias, oh * ow);
  return result;
}

function linear({ shape }, [{ data }], { weights, bias }) {
  const result = zeros(shape, data);
  for (let o = 0, at = 0; o < result.length; o++) {
    for (let i = 0; i < data.length; i++) result[o] += weights[at++] * data[i];
  }
  addBias(result, bias, 1);
  return result;
}

// ---- pooling ----

/** Calls visit(window) for every window: its output's place, and the part of it that lies inside the map. */
function windows({ kernel: [kh, kw], stride: [sh, sw], padding: [ph, pw] }, [channels, oh, ow], height, width, visit) {
  for (let c = 0, at = 0; c < channels; c++) {
    for (let y = 0; y < oh; y++) {
      for (let x = 0; x < ow; x++, at++) {
        const top = Math.max(y * sh - ph, 0), bottom = Math.min(y * sh - ph + kh, height);
        const left = Math.max(x * sw - pw, 0), right = Math.min(x * sw - pw + kw, width);
        const withPadding = Math.min(kh, height + 2 * ph - y * sh) * Math.min(kw, width + 2 * pw - x * sw);
        visit({ at, channel: c, top, bottom, left, right, count: (bottom - top) * (right - left), withPadding });
      }
    }
  }
}

function maxPool({ settings, shape }, [{ shape: [, height, width], data }]) {
  const result = zeros(shape, data);
  windows(settings, shape, height, width, ({ at, channel, top, bottom, left, right }) => {
    let best = -Infinity;
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) best = Math.max(best, data[(channel * height + y) * width + x]);
    }
    result[at] = best;
  });
  return result;
}

/** The sum of what lies in a window of a map. */
function summed({ shape: [, height, width], data }, { channel, top, bottom, left, right }) {
  let sum = 0;
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) sum += data[(channel * height + y) * width + x];
  }
  return sum;
}

function averagePool({ settings, shape }, [input]) {
  const [, height, width] = input.shape, result = zeros(shape, input.data);
  windows(settings, shape, height, width, (window) => {
    result[window.at] = summed(input, window) / (settings.count_include_pad ? window.withPadding : window.count);
  });
  return result;
}

function globalAverage({ shape: [channels] }, [input]) {
  const count = area(input);
  return Float32Array.from({ length: channels }, (_, c) => {
    let sum = 0;
    for (let n = c * count; n < (c + 1) * count; n++) sum += input.data[n];
    return sum / count;
  });
}

// ---- normalisation ----

function batchNorm({ settings }, [input], { weights, bias, running_mean: mean, running_var: variance }) {
  const count = area(input), result = new Float32Array(input.data.length);
  for (let c = 0, at = 0; c < mean.length; c++) {
    const scale = (weights ? weights[c] : 1) / Math.sqrt(variance[c] + settings.eps), shift = bias ? bias[c] : 0;
    for (let n = 0; n < count; n++, at++) result[at] = (input.data[at] - mean[c]) * scale + shift;
  }
  return result;
}

function groupNorm({ settings: { groups, eps } }, [input], { weights, bias }) {
  const { data } = input, count = area(input), size = data.length / groups;
  const result = new Float32Array(data.length);
  for (let start = 0; start < data.length; start += size) {
    let sum = 0, squares = 0;
    for (let n = start; n < start + size; n++) sum += data[n];
    const mean = sum / size;
    for (let n = start; n < start + size; n++) squares += (data[n] - mean) ** 2;
    const scale = 1 / Math.sqrt(squares / size + eps);
    for (let n = start; n < start + size; n++) {
      const c = Math.floor(n / count);
      result[n] = (data[n] - mean) * scale * (weights ? weights[c] : 1) + (bias ? bias[c] : 0);
    }
  }
  return result;
}

// ---- activations ----

const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

/** P(X <= x) of the normal distribution: 1/2 plus its density times x + x^3/3 + x^5/(3 5) + ..., all of one sign. */
function normal(x) {
  if (Math.abs(x) > 9) return x < 0 ? 0 : 1;
  let term = x, sum = x;
  for (let n = 3; Math.abs(term) > 1e-18 * Math.abs(sum); n += 2) sum += term *= x * x / n;
  return 0.5 + sum * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
}

function gelu(x, { approximate }) {
  if (approximate === "none") return x * normal(x);
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

const elementwise = (formula) => ({ settings }, [{ data }]) => data.map((x) => formula(x, settings));

function prelu(node, [input], { weights }) {
  const count = weights.length === 1 ? input.data.length : area(input);
  return input.data.map((x, n) => (x > 0 ? x : weights[Math.floor(n / count)] * x));
}

function softmax(node, [input]) {
  const { data, shape: [channels] } = input, count = area(input), result = new Float32Array(data.length);
  for (let place = 0; place < count; place++) {
    let most = -Infinity, sum = 0;
    for (let n = place; n < data.length; n += count) most = Math.max(most, data[n]);
    for (let c = 0; c < channels; c++) sum += result[c * count + place] = Math.exp(data[c * count + place] - most);
    for (let n = place; n < data.length; n += count) result[n] /= sum;
  }
  return result;
}

// ---- sums, products, places ----

function add(node, [first, ...rest]) {
  const result = first.data.slice();
  for (const { data } of rest) for (let n = 0; n < result.length; n++) result[n] += data[n];
  return result;
}

function scale({ settings: { factor } }, [input], { weights }) {
  const count = area(input);
  return input.data.map((x, n) => x * (weights ? weights[Math.floor(n / count)] : Math.fround(factor)));
}

/** A map by a map, or each channel of a map by one value; either may come first. */
function multiply(node, inputs) {
  const [larger, smaller] = inputs[0].data.length < inputs[1].data.length ? [inputs[1], inputs[0]] : inputs;
  const count = larger.data.length / smaller.data.length;
  return larger.data.map((x, n) => x * smaller.data[Math.floor(n / count)]);
}

function concat({ shape }, inputs) {
  const result = zeros(shape, inputs[0].data);
  let at = 0;
  for (const { data } of inputs) {
    result.set(data, at);
    at += data.length;
  }
  return result;
}

function padChannels({ settings: { before }, shape }, [input]) {
  const result = zeros(shape, input.data);
  result.set(input.data, before * area(input));
  return result;
}

/** The two places of the source that an output's place lies between, and the weight of the second. */
function between(place, scale, extent, corners) {
  const at = corners
    ? (extent > 1 ? place * (extent - 1) / (extent * scale - 1) : 0)
    : clamp((place + 0.5) / scale - 0.5, 0, extent - 1);
  const low = Math.floor(at);
  return { low, high: Math.min(low + 1, extent - 1), weight: at - low };
}

/** a * (1 - weight) + b * weight; what has no weight does not count, were it NaN. */
const mixed = (a, b, weight) => (weight === 0 ? a : weight === 1 ? b : a + (b - a) * weight);

function upsample({ settings: { scale: [sh, sw], mode, align_corners: corners }, shape }, [input]) {
  const { shape: [, height, width], data } = input, [channels, oh, ow] = shape;
  const result = zeros(shape, data);
  for (let c = 0, at = 0; c < channels; c++) {
    const pixel = (y, x) => data[(c * height + y) * width + x];
    for (let y = 0; y < oh; y++) {
      const v = between(y, sh, height, corners);
      for (let x = 0; x < ow; x++, at++) {
        if (mode === "nearest") {
          result[at] = pixel(Math.floor(y / sh), Math.floor(x / sw));
        } else {
          const h = between(x, sw, width, corners);
          const upper = mixed(pixel(v.low, h.low), pixel(v.low, h.high), h.weight);
          const lower = mixed(pixel(v.high, h.low), pixel(v.high, h.high), h.weight);
          result[at] = mixed(upper, lower, v.weight);
        }
      }
    }
  }
  return result;
}

const same = (node, [{ data }]) => data;

const LAYERS = {
  Conv2D: convolution,
  ConvTranspose2D: transposedConvolution,
  Linear: linear,
  MaxPool2D: maxPool,
  AvgPool2D: averagePool,
  GlobalAvgPool2D: globalAverage,
  Pad2D: ({ settings }, [input]) => padded(input, settings.pads, settings.mode).data,
  PadChannels: padChannels,
  Upsample2D: upsample,
  BatchNorm: batchNorm,
  GroupNorm: groupNorm,
  LayerNorm: groupNorm,
  InstanceNorm: groupNorm,
  Dropout: same,
  Dropout2D: same,
  StochasticDepth: same,
  Flatten: same,
  Scale: scale,
  ReLU: elementwise((x) => Math.max(x, 0)),
  LeakyReLU: elementwise((x, { slope }) => (x > 0 ? x : slope * x)),
  ELU: elementwise((x, { alpha }) => (x > 0 ? x : alpha * Math.expm1(x))),
  PReLU: prelu,
  GELU: elementwise(gelu),
  SiLU: elementwise((x) => x * sigmoid(x)),
  Hardswish: elementwise((x) => x * clamp(x + 3, 0, 6) / 6),
  Hardsigmoid: elementwise((x) => clamp(x + 3, 0, 6) / 6),
  Softplus: elementwise(softplus),
  ReLU6: elementwise((x) => clamp(x, 0, 6)),
  Clip: elementwise((x, { low, high }) => clamp(x, low, high)),
  Sigmoid: elementwise(sigmoid),
  Tanh: elementwise(Math.tanh),
  Softmax: softmax,
  Add: add,
  Multiply: multiply,
  Concat: concat,
};

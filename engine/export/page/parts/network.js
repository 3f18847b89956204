"use strict";

// ---- the network: its nodes run in the order in which they stand ----

const READS = { float32: Float32Array, int32: Int32Array, int8: Int8Array, uint8: Uint8Array };

/** An array of the network, which stands in the bytes little-endian. */
function arrayOf(bytes, { type, start, count }) {
  const Kind = READS[type], size = Kind.BYTES_PER_ELEMENT, view = new DataView(bytes.buffer, start, count * size);
  const read = view[`get${Kind.name.replace("Array", "")}`].bind(view);
  return Kind.from({ length: count }, (_, n) => read(n * size, true));
}

/** The network with its weights, which stand as base64 in the page, as arrays. */
function opened(network) {
  const bytes = Uint8Array.from(atob(network.weights), (sign) => sign.charCodeAt(0));
  const nodes = network.nodes.map((node) => ({
    ...node,
    arrays: Object.fromEntries(Object.entries(node.arrays).map(([name, place]) => [name, arrayOf(bytes, place)])),
  }));
  return { ...network, nodes };
}

/** What every layer gives for an input, by name. */
function layerOutputs(network, input) {
  const outputs = { input };
  for (const node of network.nodes) {
    const inputs = node.inputs.map((name) => outputs[name]);
    outputs[node.name] = node.integers
      ? integerOutput(node, inputs, network.entry)
      : { shape: node.shape, data: LAYERS[node.layer](node, inputs, node.arrays) };
  }
  return outputs;
}

/** Scores as probabilities: softmax is applied here where the network does not end in one. */
function probabilities(network, outputs) {
  const output = outputs[network.output];
  const kind = network.nodes.find(({ name }) => name === network.output).layer;
  const scores = kind === "Softmax" || kind === "Sigmoid" ? output.data : softmax(null, [output]);
  if (!scores.every(Number.isFinite)) throw new Error("the network gives NaN or infinity for this picture");
  return scores;
}

/** Of equal ones the class that comes first. */
const likeliest = (scores) => scores.indexOf(Math.max(...scores));

/** A picture (see picture.js): what the network sees of it, what every layer gives, the probabilities. */
function classify(network, picture) {
  const seen = prepared(picture, network.preprocess);
  const [channels, height, width] = network.input;
  if (seen.height !== height || seen.width !== width || seen.channels !== channels) {
    throw new Error(`the network takes pictures of ${width}×${height} pixels, and this one gives ` +
      `${seen.width}×${seen.height}`);
  }
  const outputs = layerOutputs(network, { shape: network.input, data: normalised(seen, network.preprocess) });
  return { seen, outputs, scores: probabilities(network, outputs) };
}

// ---- which pixels count: a patch of the paper's colour covers one place after the other (Zeiler & Fergus 2014) ----

/** How much likelier the class is than the next one, or than not to be, as a logarithm. */
function margin(network, scores, index) {
  const last = network.nodes.find(({ name }) => name === network.output).layer;
  const single = last === "Sigmoid" || scores.length === 1;
  const other = single ? 1 - scores[index] : Math.max(...scores.filter((_, n) => n !== index));
  const least = 1e-38;
  return Math.log(Math.max(scores[index], least)) - Math.log(Math.max(other, least));
}

/** The starts of patches of this size over an extent: half a patch apart, the last at the end. */
function starts(extent, patch) {
  const step = Math.max(1, Math.floor(patch / 2)), found = [];
  for (let at = 0; at < extent - patch; at += step) found.push(at);
  return [...found, Math.max(extent - patch, 0)];
}

/** The side of the patch so that about so many runs cover the picture. */
function patchSide({ height, width }, runs) {
  const longer = Math.max(height, width);
  for (let patch = Math.max(1, Math.round(longer / 7)); patch < longer; patch++) {
    if (starts(height, patch).length * starts(width, patch).length <= runs) return patch;
  }
  return longer;
}

const EXPLAIN_SECONDS = 5; // about, and no more runs than MOST_RUNS
const LEAST_RUNS = 9;
const MOST_RUNS = 200;

/**
 * For every pixel, by how much the margin of the class falls where the pixel is covered: the mean over the patches that
 * cover it. Yields the share that is done, and the map with it at last.
 */
function* importance(network, seen, index) {
  const { channels, height, width } = seen, paper = paperOf(seen);
  const run = (image) => {
    const outputs = layerOutputs(network, { shape: network.input, data: normalised(image, network.preprocess) });
    return margin(network, probabilities(network, outputs), index);
  };
  const began = performance.now(), whole = run(seen);
  const affordable = Math.floor(1000 * EXPLAIN_SECONDS / Math.max(performance.now() - began, 1));
  const sums = new Float64Array(height * width), counts = new Float64Array(height * width);
  const side = patchSide(seen, Math.min(Math.max(affordable, LEAST_RUNS), MOST_RUNS));
  const rows = starts(height, side), columns = starts(width, side);
  let done = 0;
  for (const top of rows) {
    for (const left of columns) {
      const data = seen.data.slice();
      const bottom = Math.min(top + side, height), right = Math.min(left + side, width);
      for (let c = 0; c < channels; c++) {
        for (let y = top; y < bottom; y++) {
          const row = (c * height + y) * width;
          data.fill(paper[c], row + left, row + right);
        }
      }
      const fall = whole - run({ ...seen, data });
      for (let y = top; y < bottom; y++) {
        for (let x = left; x < right; x++) {
          sums[y * width + x] += fall;
          counts[y * width + x]++;
        }
      }
      yield { share: ++done / (rows.length * columns.length) };
    }
  }
  yield { share: 1, map: Float32Array.from(sums, (sum, n) => sum / counts[n]) };
}

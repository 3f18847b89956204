"use strict";

// The integer layers of a quantised network, with the engine's bits (its documentation's page on int8 has the rules).
// What such a layer gives is a tensor with `codes`, bytes, beside `data`, the float32 numbers that they stand for:
// scale * (code - zero). Products and sums are in Int32Array, by the functions of LAYERS: none leaves 32 bits, as a
// network with such sums is neither made nor read.

const EXACT = 2 ** 53; // up to here a number holds every integer

/** The whole number that is nearest, and of a half the even one. */
function halfToEven(x) {
  const low = Math.floor(x), rest = x - low;
  return rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low;
}

/** The same of numerator / denominator: BigInt, the second above 0. */
function divided(numerator, denominator) {
  let low = numerator / denominator, rest = numerator % denominator;
  if (rest < 0n) [low, rest] = [low - 1n, rest + denominator];
  const twice = 2n * rest;
  return Number(twice > denominator || (twice === denominator && low % 2n !== 0n) ? low + 1n : low);
}

/** sum * multiplier / 2^shift, rounded. */
function requantised(sum, multiplier, shift) {
  const product = sum * multiplier;
  if (Math.abs(product) <= EXACT) return halfToEven(product / 2 ** shift);
  return divided(BigInt(sum) * BigInt(multiplier), 1n << BigInt(shift));
}

/** An array of another kind: map(element, index) of each. */
function mapped(Kind, data, map) {
  const result = new Kind(data.length);
  for (let n = 0; n < data.length; n++) result[n] = map(data[n], n);
  return result;
}

/** The codes of float32 numbers. */
const codesOf = (data, { scale, zero }) =>
  mapped(Uint8Array, data, (x) => clamp(halfToEven(Math.fround(x / scale)) + zero, 0, 255));

/** The codes less their zero point, which stands for 0. */
const lessZero = ({ shape, codes }, zero) => ({ shape, data: mapped(Int32Array, codes, (code) => code - zero) });

/** Numbers by code from sums of products: each channel has its own factor. */
function product(node, [input], arrays) {
  const sums = LAYERS[node.layer](node, [input], arrays), count = sums.length / node.shape[0];
  return mapped(Float64Array, sums, (sum, n) => {
    const channel = Math.floor(n / count);
    return requantised(sum, arrays.multipliers[channel], arrays.shifts[channel]);
  });
}

function integerAverage(node, [input], { multipliers: [multiplier], shifts: [shift] }) {
  const [, height, width] = input.shape, whole = node.layer === "GlobalAvgPool2D";
  const window = whole ? { kernel: [height, width], stride: [1, 1], padding: [0, 0] } : node.settings;
  const result = zeros(node.shape, new Float64Array());
  windows(window, whole ? [node.shape[0], 1, 1] : node.shape, height, width, (place) => {
    const count = BigInt(window.count_include_pad ? place.withPadding : place.count);
    result[place.at] = divided(BigInt(summed(input, place)) * BigInt(multiplier), count << BigInt(shift));
  });
  return result;
}

function integerSum(node, [a, b], { multipliers: [first, second], shifts: [shift] }) {
  return a.data.map((x, n) => halfToEven((x * first + b.data[n] * second) / 2 ** shift));
}

const INTEGERS = {
  Conv2D: product,
  ConvTranspose2D: product,
  Linear: product,
  AvgPool2D: integerAverage,
  GlobalAvgPool2D: integerAverage,
  Add: integerSum,
};

/** The codes that an integer layer gives. Those that pass codes on pass what is left of them without the zero point. */
function codesBehind(node, inputs, arrays) {
  const { zero, low, high, before } = node.integers;
  if (arrays.table) return inputs[0].codes.map((code) => arrays.table[code]);
  const numbers = (INTEGERS[node.layer] ?? LAYERS[node.layer])(
    node, inputs.map((input, n) => lessZero(input, before[n])), arrays,
  );
  return mapped(Uint8Array, numbers, (number) => clamp(number + zero, low, high));
}

/** What an integer layer gives. Float32 inputs become codes by the encoding of the first integers. */
function integerOutput(node, inputs, entry) {
  const coded = inputs.map((input) => (input.codes ? input : { ...input, codes: codesOf(input.data, entry) }));
  const codes = codesBehind(node, coded, node.arrays), { scale, zero } = node.integers;
  return { shape: node.shape, codes, data: mapped(Float32Array, codes, (code) => scale * (code - zero)) };
}

"use strict";

// What the page holds: weights in half precision, masks as bits, labels.

const DATA = JSON.parse(document.getElementById("data").textContent);
const MEAN = "mean";

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

// The number of each of the 65536 patterns of half precision.
const HALVES = new Float32Array(65536);
for (let bits = 0; bits < 65536; bits++) {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const size = exponent === 0
    ? fraction * 2 ** -24
    : (1024 + fraction) * 2 ** (exponent - 25);
  HALVES[bits] = bits & 32768 ? -size : size;
}

// The bytes of a layer are decoded when it is first looked at.
function halvesOf(layer) {
  if (!layer.halves) {
    const bytes = bytesOf(layer.weights);
    layer.halves = new Uint16Array(bytes.length / 2);
    for (let i = 0; i < layer.halves.length; i++) {
      layer.halves[i] = bytes[2 * i] | (bytes[2 * i + 1] << 8);
    }
    layer.weights = null;
    layer.matrices = new Map();
  }
  return layer.halves;
}

// The weights of one head, or the mean of all: {values, least, most}.
function matrixOf(layer, head) {
  const halves = halvesOf(layer);
  if (layer.matrices.has(head)) return layer.matrices.get(head);
  const size = layer.rows * layer.columns;
  const values = new Float32Array(size);
  const heads = head === MEAN ? [...Array(layer.heads).keys()] : [head];
  for (const number of heads) {
    const start = number * size;
    for (let i = 0; i < size; i++) values[i] += HALVES[halves[start + i]];
  }
  let least = 0;
  let most = 0;
  for (let i = 0; i < size; i++) {
    values[i] /= heads.length;
    if (values[i] < least) least = values[i];
    if (values[i] > most) most = values[i];
  }
  const matrix = { values, least, most, top: Math.max(most, -least) };
  layer.matrices.set(head, matrix);
  return matrix;
}

// Whether a cell may be attended to; null where the layer has no mask.
function visibilityOf(layer) {
  if (layer.mask === null) return null;
  if (!layer.visible) {
    const bytes = bytesOf(layer.mask);
    layer.visible = new Uint8Array(layer.rows * layer.columns);
    for (let i = 0; i < layer.visible.length; i++) {
      layer.visible[i] = (bytes[i >> 3] >> (7 - (i & 7))) & 1;
    }
  }
  return layer.visible;
}

function rowLabel(layer, row) {
  return layer.row_labels === null
    ? String(row) : DATA.labels[layer.row_labels][row];
}

function columnLabel(layer, column) {
  return layer.column_labels === null
    ? String(column) : DATA.labels[layer.column_labels][column];
}

function numberText(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size < 0.001 ? value.toExponential(1) : value.toPrecision(3);
}

// The strongest of a row or a column: [[index, weight], ...], largest first.
function strongest(matrix, first, stride, count, smallest, most) {
  const found = [];
  for (let i = 0; i < count; i++) {
    const weight = matrix.values[first + i * stride];
    const size = Math.abs(weight);
    if (size === 0 || size < smallest) continue;
    if (found.length === most && size <= Math.abs(found[most - 1][1])) continue;
    let place = found.length;
    while (place > 0 && Math.abs(found[place - 1][1]) < size) place--;
    found.splice(place, 0, [i, weight]);
    if (found.length > most) found.pop();
  }
  return found;
}

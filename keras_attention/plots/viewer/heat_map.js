// The picture: an image of the cells, made when what is shown changes, and the
// marks of what is traced, drawn over it at each movement.

const DECADES = 4; // that the logarithmic scale spans below the largest weight
const LABEL_SIZE = 13;
const LONGEST_LABEL = 130; // pixels
const LARGEST_CELL = { width: 56, height: 38 };
const LABEL_FONT = '13px system-ui, "Noto Sans", "Noto Sans CJK SC", ' +
  '"PingFang SC", "Microsoft YaHei", sans-serif';

const RAMPS = {
  light: {
    positive: ["#ffffff", "#c6dbef", "#6aaed6", "#2171b5", "#08306b"],
    negative: ["#ffffff", "#fdd0a2", "#fd8d3c", "#d94801", "#7f2704"],
  },
  dark: {
    positive: ["#12171d", "#123a5f", "#1f6fb2", "#6fb9f5", "#eef7ff"],
    negative: ["#12171d", "#5a2a08", "#b3560f", "#f59a4a", "#fff1e3"],
  },
};

function rampOf(colours) {
  const parts = colours.map((c) =>
    [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16)));
  const ramp = new Uint32Array(256);
  for (let level = 0; level < 256; level++) {
    const place = (level / 255) * (parts.length - 1);
    const low = Math.min(Math.floor(place), parts.length - 2);
    const [r, g, b] = [0, 1, 2].map((i) => Math.round(
      parts[low][i] + (parts[low + 1][i] - parts[low][i]) * (place - low)));
    ramp[level] = (255 << 24) | (b << 16) | (g << 8) | r;
  }
  return ramp;
}

function newCanvas(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, width);
  canvas.height = Math.max(1, height);
  return canvas;
}

function cssColour(name) {
  return getComputedStyle(document.documentElement)
    .getPropertyValue(`--${name}`).trim();
}

// 0 to 255: how strong the colour of a weight is.
function levelOf(weight, shown) {
  const size = Math.abs(weight);
  if (size === 0 || size < shown.threshold || shown.top === 0) return 0;
  const share = size / shown.top;
  const strength = shown.log ? 1 + Math.log10(share) / DECADES : share;
  return Math.max(0, Math.min(255, Math.round(255 * strength)));
}

// The weight farthest from 0 in each block, where cells are below a pixel.
function pooled(matrix, layer, width, height) {
  const values = new Float32Array(width * height);
  for (let row = 0; row < layer.rows; row++) {
    const y = Math.floor((row * height) / layer.rows) * width;
    const start = row * layer.columns;
    for (let column = 0; column < layer.columns; column++) {
      const place = y + Math.floor((column * width) / layer.columns);
      const weight = matrix.values[start + column];
      if (Math.abs(weight) > Math.abs(values[place])) values[place] = weight;
    }
  }
  return values;
}

// The cells as an image, one pixel for each cell or for each block of them.
function imageOf(matrix, layer, shown, most) {
  const width = Math.min(layer.columns, most.width);
  const height = Math.min(layer.rows, most.height);
  const whole = width === layer.columns && height === layer.rows;
  const values = whole ? matrix.values : pooled(matrix, layer, width, height);
  const ramps = RAMPS[shown.theme];
  const positive = rampOf(ramps.positive);
  const negative = rampOf(ramps.negative);
  const canvas = newCanvas(width, height);
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < values.length; i++) {
    const ramp = values[i] < 0 ? negative : positive;
    pixels[i] = ramp[levelOf(values[i], shown)];
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// Hatching over the cells that the mask hides, as large as the picture.
function maskImageOf(visible, layer, width, height) {
  const cells = newCanvas(layer.columns, layer.rows);
  const cellContext = cells.getContext("2d");
  const image = cellContext.createImageData(cells.width, cells.height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < visible.length; i++) {
    pixels[i] = visible[i] ? 0 : 0xff000000;
  }
  cellContext.putImageData(image, 0, 0);
  const hatch = newCanvas(8, 8);
  const lines = hatch.getContext("2d");
  lines.strokeStyle = cssColour("hatch");
  lines.lineWidth = 2;
  lines.beginPath();
  for (const start of [-8, 0, 8]) {
    lines.moveTo(start, 8);
    lines.lineTo(start + 8, 0);
  }
  lines.stroke();
  const canvas = newCanvas(width, height);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(cells, 0, 0, width, height);
  context.globalCompositeOperation = "source-in";
  context.fillStyle = context.createPattern(hatch, "repeat");
  context.fillRect(0, 0, width, height);
  return canvas;
}

function shortened(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  const letters = Array.from(text);
  let low = 0;
  let high = letters.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    const short = letters.slice(0, middle).join("") + "\u2026";
    if (context.measureText(short).width <= room) low = middle;
    else high = middle - 1;
  }
  return letters.slice(0, low).join("") + "\u2026";
}

function longestLabel(context, count, labelOf) {
  let longest = 8;
  for (let i = 0; i < count && longest < LONGEST_LABEL; i++) {
    longest = Math.max(longest, context.measureText(labelOf(i)).width);
  }
  return Math.ceil(Math.min(longest, LONGEST_LABEL));
}

// Where cells and labels are, in CSS pixels.
function layoutOf(context, layer, roomWidth, roomHeight) {
  context.font = LABEL_FONT;
  const left = 10 + longestLabel(context, layer.rows, (i) => rowLabel(layer, i));
  const widest = longestLabel(
    context, layer.columns, (i) => columnLabel(layer, i));
  const across = Math.max(roomWidth - left - 2, 40);
  let width = Math.min(across / layer.columns, LARGEST_CELL.width);
  if (width >= 4) width = Math.floor(width);
  const upright = widest <= width - 4;
  const top = 10 + (upright ? LABEL_SIZE + 4 : widest);
  const down = Math.max(roomHeight - top - 2, 120);
  let height = Math.min(down / layer.rows, LARGEST_CELL.height);
  if (height >= 4) height = Math.floor(height);
  return {
    left, top, upright,
    cellWidth: width,
    cellHeight: height,
    width: width * layer.columns,
    height: height * layer.rows,
  };
}

function drawLabel(context, place, layout, isColumn, text, colour) {
  context.fillStyle = colour;
  context.textBaseline = "middle";
  const label = shortened(context, text, LONGEST_LABEL);
  if (!isColumn) {
    context.textAlign = "right";
    const y = layout.top + (place + 0.5) * layout.cellHeight;
    context.fillText(label, layout.left - 6, y);
    return;
  }
  const x = layout.left + (place + 0.5) * layout.cellWidth;
  context.save();
  context.translate(x, layout.top - 6);
  if (layout.upright) {
    context.textAlign = "center";
    context.fillText(label, 0, -LABEL_SIZE / 2);
  } else {
    context.textAlign = "left";
    context.rotate(-Math.PI / 2);
    context.fillText(label, 0, 0);
  }
  context.restore();
}

// The labels that have room; never one on top of that of the traced token.
function drawLabels(context, layer, layout, traced, colours) {
  context.font = LABEL_FONT;
  for (const isColumn of [false, true]) {
    const count = isColumn ? layer.columns : layer.rows;
    const cell = isColumn ? layout.cellWidth : layout.cellHeight;
    const labelOf = isColumn ? columnLabel : rowLabel;
    const marked = isColumn ? traced.column : traced.row;
    const step = Math.max(1, Math.ceil((LABEL_SIZE + 1) / cell));
    for (let i = 0; i < count; i += step) {
      if (marked !== null && Math.abs(i - marked) < step) continue;
      const text = labelOf(layer, i);
      drawLabel(context, i, layout, isColumn, text, colours.ink);
    }
    if (marked === null) continue;
    const text = labelOf(layer, marked);
    drawLabel(context, marked, layout, isColumn, text, colours.mark);
  }
}

function drawTrace(context, layout, traced, colours) {
  const { left, top, width, height, cellWidth, cellHeight } = layout;
  context.strokeStyle = colours.mark;
  context.lineWidth = 1.5;
  const row = [left, top + (traced.row ?? 0) * cellHeight, width, cellHeight];
  const column = [
    left + (traced.column ?? 0) * cellWidth, top, cellWidth, height];
  if (traced.row !== null) context.strokeRect(...row);
  if (traced.column !== null) context.strokeRect(...column);
  if (traced.row !== null && traced.column !== null) {
    context.lineWidth = 3;
    context.strokeRect(column[0], row[1], cellWidth, cellHeight);
  }
}

function drawGrid(context, layer, layout, colour) {
  const { left, top, width, height, cellWidth, cellHeight } = layout;
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.strokeRect(left, top, width, height);
  if (Math.min(cellWidth, cellHeight) < 12) return;
  context.beginPath();
  for (let i = 1; i < layer.columns; i++) {
    context.moveTo(left + i * cellWidth, top);
    context.lineTo(left + i * cellWidth, top + height);
  }
  for (let i = 1; i < layer.rows; i++) {
    context.moveTo(left, top + i * cellHeight);
    context.lineTo(left + width, top + i * cellHeight);
  }
  context.stroke();
}

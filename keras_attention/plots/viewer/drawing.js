// One frame: what has changed is made again, then everything is put together.

const CAPTION_LINE = 20; // pixels, of a downloaded picture
const WIDEST_CAPTION = 640;
const canvas = document.getElementById("heat-map");
const context = canvas.getContext("2d");
const picture = document.getElementById("picture");
const state = {
  layer: 0,
  head: MEAN,
  log: false,
  threshold: 0, // a share of the largest weight
  mask: true,
  theme: matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light",
  kept: { row: 0, column: 0 }, // the cell that keys move
  hovered: null,
  step: 0,
};
let layout = null;
let cellImage = null;
let maskImage = null;
let colours = null;
let isAsked = false;

const layerNow = () => DATA.layers[state.layer];
const headNow = () => (layerNow().heads === 1 ? 0 : state.head);
const matrixNow = () => matrixOf(layerNow(), headNow());
const thresholdNow = () => state.threshold * matrixNow().top;
const tracedNow = () => state.hovered ?? state.kept;

// Asks for a frame; `change` says that the image of the cells is another.
function ask(change) {
  if (change) cellImage = null;
  if (isAsked) return;
  isAsked = true;
  requestAnimationFrame(() => {
    isAsked = false;
    drawFrame();
  });
}

function remake() {
  const layer = layerNow();
  const scale = window.devicePixelRatio || 1;
  const top = picture.getBoundingClientRect().top + window.scrollY;
  const room = Math.max(window.innerHeight - top - 48, 240);
  layout = layoutOf(context, layer, picture.clientWidth, room);
  colours = { ink: cssColour("ink"), mark: cssColour("mark"),
    line: cssColour("line"), paper: cssColour("paper") };
  const width = Math.ceil(layout.left + layout.width + 2);
  const height = Math.ceil(layout.top + layout.height + 2);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const shown = { log: state.log, threshold: thresholdNow(),
    theme: state.theme, top: matrixNow().top };
  const most = {
    width: Math.max(1, Math.round(layout.width * scale)),
    height: Math.max(1, Math.round(layout.height * scale)),
  };
  cellImage = imageOf(matrixNow(), layer, shown, most);
  const visible = state.mask ? visibilityOf(layer) : null;
  maskImage = visible &&
    maskImageOf(visible, layer, most.width, most.height);
  for (const name of ["left", "top", "cellWidth", "cellHeight"]) {
    canvas.dataset[name] = layout[name];
  }
  drawLegend(shown);
}

function drawOn(target, scale, traced) {
  target.setTransform(scale, 0, 0, scale, 0, 0);
  target.fillStyle = colours.paper;
  target.fillRect(0, 0, canvas.width / scale, canvas.height / scale);
  target.imageSmoothingEnabled = false;
  const box = [layout.left, layout.top, layout.width, layout.height];
  target.drawImage(cellImage, ...box);
  if (maskImage) target.drawImage(maskImage, ...box);
  drawGrid(target, layerNow(), layout, colours.line);
  drawLabels(target, layerNow(), layout, traced, colours);
  drawTrace(target, layout, traced, colours);
}

function drawFrame() {
  if (cellImage === null) remake();
  const traced = tracedNow();
  drawOn(context, window.devicePixelRatio || 1, traced);
  canvas.dataset.row = traced.row ?? "";
  canvas.dataset.column = traced.column ?? "";
  showTrace();
}

function drawLegend(shown) {
  const legend = document.getElementById("legend");
  const target = legend.getContext("2d");
  const image = target.createImageData(legend.width, legend.height);
  const pixels = new Uint32Array(image.data.buffer);
  const ramp = rampOf(RAMPS[state.theme].positive);
  for (let i = 0; i < pixels.length; i++) {
    pixels[i] = ramp[Math.round((255 * (i % legend.width)) / legend.width)];
  }
  target.putImageData(image, 0, 0);
  const low = shown.log ? shown.top * 10 ** -DECADES : 0;
  document.getElementById("legend-low").textContent = numberText(low);
  document.getElementById("legend-high").textContent = numberText(shown.top);
}

// The token or tokens under a point of the canvas, or null.
function cellAt(x, y) {
  const layer = layerNow();
  const column = Math.floor((x - layout.left) / layout.cellWidth);
  const row = Math.floor((y - layout.top) / layout.cellHeight);
  const isColumn = column >= 0 && column < layer.columns;
  const isRow = row >= 0 && row < layer.rows;
  if (isRow && isColumn) return { row, column };
  if (isRow && x < layout.left) return { row, column: null };
  if (isColumn && y < layout.top) return { row: null, column };
  return null;
}

// The picture without marks, under what it is of, as a PNG to download.
function downloadPicture() {
  const ratio = window.devicePixelRatio || 1;
  const scale = Math.max(2, ratio);
  const lines = captionNow();
  const header = 8 + CAPTION_LINE * lines.length;
  const height = canvas.height / ratio;
  context.font = LABEL_FONT;
  const width = Math.max(canvas.width / ratio, ...lines.map((line) =>
    Math.min(16 + context.measureText(line).width, WIDEST_CAPTION)));
  const cells = newCanvas(
    Math.round((canvas.width / ratio) * scale), Math.round(height * scale));
  drawOn(cells.getContext("2d"), scale, { row: null, column: null });
  const whole = newCanvas(
    Math.round(width * scale), Math.round((height + header) * scale));
  const target = whole.getContext("2d");
  target.fillStyle = colours.paper;
  target.fillRect(0, 0, whole.width, whole.height);
  target.drawImage(cells, 0, Math.round(header * scale));
  target.setTransform(scale, 0, 0, scale, 0, 0);
  target.font = LABEL_FONT;
  target.fillStyle = colours.ink;
  target.textBaseline = "middle";
  lines.forEach((line, number) => target.fillText(
    shortened(target, line, width - 16), 8, 4 + CAPTION_LINE * (number + 0.5)));
  whole.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = "attention.png";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
}

// The lines above a downloaded picture: the title, the layer and the head.
function captionNow() {
  const layer = layerNow();
  const parts = DATA.layers.length > 1 ? [layer.name] : [];
  if (layer.heads > 1) parts.push(headName(headNow()));
  return [DATA.title, parts.join(" \u00b7 ")].filter((line) => line);
}

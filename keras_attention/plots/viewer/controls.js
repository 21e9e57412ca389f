// Mouse, keys and controls; and what the side says of the traced tokens.

const PARTNERS = 8;
const part = (id) => document.getElementById(id);
let told = null; // what the side shows, so that it is written only when new

function headName(head) {
  return head === MEAN ? "mean of heads" : `head ${head}`;
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function showPartners(list, partners, labelOf, top) {
  list.replaceChildren(...partners.map(([index, weight]) => {
    const item = document.createElement("li");
    const label = element("bdi", "token", labelOf(index));
    label.title = labelOf(index);
    const bar = element("span", "bar", "");
    bar.style.width = `${(100 * Math.abs(weight)) / top}%`;
    if (weight < 0) bar.style.background = "var(--mark)";
    item.append(label, bar, element("span", "weight", numberText(weight)));
    return item;
  }));
}

function quoted(label) {
  return [" \u201c", element("bdi", "", label), "\u201d"];
}

function setHeading(id, before, label, after) {
  part(id).replaceChildren(before, ...quoted(label), ` ${after}`);
}

function showTrace() {
  const { row, column } = tracedNow();
  const key = [state.layer, headNow(), state.threshold, state.mask, row,
    column].join();
  if (told === key) return;
  told = key;
  const layer = layerNow();
  const matrix = matrixNow();
  const least = thresholdNow();
  part("row-heading").parentElement.hidden = row === null;
  if (row !== null) {
    setHeading("row-heading", "Target", rowLabel(layer, row), "looks at");
    const found = strongest(
      matrix, row * layer.columns, 1, layer.columns, least, PARTNERS);
    showPartners(part("row-partners"), found,
      (i) => columnLabel(layer, i), matrix.top);
  }
  part("column-heading").parentElement.hidden = column === null;
  if (column !== null) {
    setHeading(
      "column-heading", "Source", columnLabel(layer, column), "is looked at by");
    const found = strongest(
      matrix, column, layer.columns, layer.rows, least, PARTNERS);
    showPartners(part("column-partners"), found,
      (i) => rowLabel(layer, i), matrix.top);
  }
  showStatus(layer, matrix, row, column);
}

function showStatus(layer, matrix, row, column) {
  const parts = [];
  if (row !== null) {
    parts.push(`target ${row}`);
    if (layer.row_labels !== null) parts.push(...quoted(rowLabel(layer, row)));
  }
  if (row !== null && column !== null) parts.push(" \u2192 ");
  if (column !== null) {
    parts.push(`source ${column}`);
    if (layer.column_labels !== null) {
      parts.push(...quoted(columnLabel(layer, column)));
    }
  }
  if (row !== null && column !== null) {
    const place = row * layer.columns + column;
    const visible = visibilityOf(layer);
    const hidden = visible && !visible[place] ? ", hidden by the mask" : "";
    const weight = numberText(matrix.values[place]);
    parts.push(": ", element("span", "weight", weight), hidden);
  }
  part("status").replaceChildren(...parts);
}

function fillHeads() {
  const { heads } = layerNow();
  const choices = heads > 1 ? [MEAN, ...Array(heads).keys()] : [0];
  part("head").replaceChildren(...choices.map((head) => {
    const option = new Option(headName(head), String(head));
    return option;
  }));
  // A layer of one head does not change the choice for the others.
  if (heads > 1 && !choices.includes(state.head)) state.head = MEAN;
  part("head").value = String(headNow());
  part("head-control").hidden = heads === 1;
}

function setLayer(number) {
  state.layer = Math.max(0, Math.min(DATA.layers.length - 1, number));
  const layer = layerNow();
  state.kept.row = Math.min(state.kept.row ?? 0, layer.rows - 1);
  state.kept.column = Math.min(state.kept.column ?? 0, layer.columns - 1);
  state.hovered = null;
  part("layer").value = String(state.layer);
  part("mask-control").hidden = layer.mask === null;
  fillHeads();
  showThreshold();
  ask(true);
}

function setHead(text) {
  state.head = text === MEAN ? MEAN : Number(text);
  part("head").value = text;
  showThreshold();
  ask(true);
}

function moveHead(by) {
  const options = part("head").options;
  const index = part("head").selectedIndex + by;
  if (options[index]) setHead(options[index].value);
}

function setLog(log) {
  state.log = log;
  part("scale").value = log ? "log" : "linear";
  ask(true);
}

// The slider is square, so that small weights, too, have room on it.
function setThreshold(position) {
  state.threshold = (position / 100) ** 2;
  showThreshold();
  ask(true);
}

function showThreshold() {
  const text = numberText(thresholdNow());
  part("threshold-value").textContent = text;
  part("threshold").setAttribute("aria-valuetext", text);
}

function setMask(mask) {
  state.mask = mask;
  part("mask").checked = mask;
  ask(true);
}

function setTheme(theme) {
  state.theme = theme;
  document.documentElement.dataset.theme = theme;
  part("theme").setAttribute("aria-pressed", String(theme === "dark"));
  ask(true);
}

function moveCell(rows, columns) {
  const layer = layerNow();
  const { row, column } = state.kept;
  state.hovered = null;
  state.kept = {
    row: Math.max(0, Math.min(layer.rows - 1, (row ?? 0) + rows)),
    column: Math.max(0, Math.min(layer.columns - 1, (column ?? 0) + columns)),
  };
  ask(false);
}

function setStep(number) {
  const steps = DATA.steps;
  state.step = Math.max(0, Math.min(steps.length - 1, number));
  part("step").value = String(state.step);
  const text = `step ${state.step + 1} of ${steps.length}`;
  part("step-value").textContent = text;
  part("step").setAttribute("aria-valuetext", text);
  part("hypotheses").replaceChildren(...steps[state.step].map(
    ({ tokens, score }) => {
      const item = document.createElement("li");
      const line = element("bdi", "text", tokens.slice(0, -1).join(" ") + " ");
      line.append(element("strong", "", tokens.at(-1) ?? ""));
      item.append(line, element("span", "score", score.toFixed(3)));
      return item;
    }));
  if (state.step < layerNow().rows) {
    state.kept = { row: state.step, column: state.kept.column ?? 0 };
    state.hovered = null;
    ask(false);
  }
}

const KEYS = {
  ArrowUp: () => moveCell(-1, 0),
  ArrowDown: () => moveCell(1, 0),
  ArrowLeft: () => moveCell(0, -1),
  ArrowRight: () => moveCell(0, 1),
  Home: () => moveCell(0, -Infinity),
  End: () => moveCell(0, Infinity),
  PageUp: () => moveCell(-Infinity, 0),
  PageDown: () => moveCell(Infinity, 0),
  ShiftArrowUp: () => setLayer(state.layer - 1),
  ShiftArrowDown: () => setLayer(state.layer + 1),
  ShiftArrowLeft: () => moveHead(-1),
  ShiftArrowRight: () => moveHead(1),
  ",": () => DATA.steps.length && setStep(state.step - 1),
  ".": () => DATA.steps.length && setStep(state.step + 1),
  l: () => setLog(!state.log),
  m: () => setMask(!state.mask),
  d: () => setTheme(state.theme === "dark" ? "light" : "dark"),
  p: downloadPicture,
  "?": () => part("help").showModal(),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (part("help").open || event.target.closest("select, input")) return;
  const isArrow = event.key.startsWith("Arrow");
  const name = event.shiftKey && isArrow ? `Shift${event.key}` : event.key;
  const action = KEYS[name] ?? KEYS[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action();
}

function onMove(event) {
  const box = canvas.getBoundingClientRect();
  const found = layout && cellAt(event.clientX - box.left, event.clientY - box.top);
  const before = state.hovered;
  if (found?.row === before?.row && found?.column === before?.column) return;
  state.hovered = found;
  ask(false);
}

function onClick() {
  if (state.hovered) state.kept = state.hovered;
  ask(false);
}

function start() {
  part("title").textContent = DATA.title;
  part("layer").replaceChildren(...DATA.layers.map(
    (layer, number) => new Option(layer.name, String(number))));
  part("layer-control").hidden = DATA.layers.length === 1;
  part("layer").onchange = () => setLayer(Number(part("layer").value));
  part("head").onchange = () => setHead(part("head").value);
  part("scale").onchange = () => setLog(part("scale").value === "log");
  part("threshold").oninput = () => setThreshold(part("threshold").value);
  part("mask").onchange = () => setMask(part("mask").checked);
  part("theme").onclick = KEYS.d;
  part("download").onclick = downloadPicture;
  part("help-button").onclick = KEYS["?"];
  canvas.addEventListener("pointermove", onMove);
  canvas.addEventListener("pointerleave", () => {
    state.hovered = null;
    ask(false);
  });
  canvas.addEventListener("click", onClick);
  document.addEventListener("keydown", onKey);
  window.addEventListener("resize", () => ask(true));
  matchMedia("(prefers-color-scheme: dark)").addEventListener(
    "change", (event) => setTheme(event.matches ? "dark" : "light"));
  setTheme(state.theme);
  setLayer(0);
  if (DATA.steps.length) {
    part("steps").hidden = false;
    part("step").max = String(DATA.steps.length - 1);
    part("step").oninput = () => setStep(Number(part("step").value));
    part("step-back").onclick = KEYS[","];
    part("step-on").onclick = KEYS["."];
    setStep(0);
  }
}

start();

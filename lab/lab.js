// The loss lab. Around it stand what `lab/build.py` puts there: before it the programs of the losses
// (`LOSSES`, each with `make()`), behind it a line that says how a page or a notebook calls `mount`.

const SIDE = 64, PIXELS = SIDE * SIDE, MOST_CELLS = 16, LEVELS = 8; // logits are painted in eighths
const FAMILIES = ["distribution", "region", "boundary", "compound"];
const BLUE = [13, 126, 194], VERMILION = [213, 94, 0];

// --- Losses --------------------------------------------------------------------------------------

/** A loss with its settings, which does again only what has to be done again. */
class Loss {
  constructor(entry, settings = {}) {
    this.entry = entry;
    this.settings = entry.sliders.map((s) => settings[s.name] ?? s.value);
  }

  /** The value for a scene and logits, and the gradient if it is wanted: good until the next run. */
  run(scene, logits, wantsGradient = false) {
    this.program ??= this.entry.make();
    const truth = this.entry.truth === "instances" ? scene.cells : scene.mask;
    const state = `${scene.version} ${this.settings}`;
    if (state !== this.state) {
      this.program.truth(truth, this.settings);
      this.state = state;
    }
    const value = this.program.value(truth, logits, this.settings);
    const gradient = wantsGradient && this.program.gradient(truth, logits, this.settings);
    return { value, gradient };
  }
}

const entryOf = (key) => LOSSES.find((entry) => entry.key === key);

let versions = 0;

/** A true mask as the losses read it: the mask, and its cells with numbers from 1 on. */
function sceneOf(mask) {
  return { mask: Float64Array.from(mask), cells: numbered(mask), version: ++versions };
}

/** The pieces of a mask, which hang together over sides and corners, numbered. */
function numbered(mask) {
  const cells = new Float64Array(PIXELS);
  let count = 0;
  for (let start = 0; start < PIXELS; start++) {
    if (!mask[start] || cells[start]) continue;
    const todo = [start];
    cells[start] = ++count;
    while (todo.length) {
      const at = todo.pop(), row = Math.floor(at / SIDE), column = at % SIDE;
      for (let r = Math.max(row - 1, 0); r <= Math.min(row + 1, SIDE - 1); r++)
        for (let c = Math.max(column - 1, 0); c <= Math.min(column + 1, SIDE - 1); c++) {
          const other = r * SIDE + c;
          if (mask[other] && !cells[other]) {
            cells[other] = count;
            todo.push(other);
          }
        }
    }
  }
  return cells;
}

// --- Cases to begin with ---------------------------------------------------------------------------

const disc = (row, column, radius) => (r, c) => (r - row) ** 2 + (c - column) ** 2 <= radius ** 2;
const square = (row, column, side) => (r, c) => r >= row && r < row + side && c >= column && c < column + side;
const vessel = (half) => (r, c) => Math.abs(r - 32 - 14 * Math.sin(c / 10)) <= half * Math.hypot(1, 1.4 * Math.cos(c / 10));
const either = (...shapes) => (r, c) => shapes.some((shape) => shape(r, c));
const without = (a, b) => (r, c) => a(r, c) && !b(r, c);
const nothing = () => false;
const CELLS = [[20, 18, 10], [20, 39, 10], [38, 28, 10], [40, 49, 9]];
// A pixel belongs to the nearest cell; one that is as near to a second cell lies between them.
function touching(r, c) {
  const ways = CELLS.map(([row, column, radius]) => Math.hypot(r - row, c - column) - radius);
  const [first, second] = ways.sort((a, b) => a - b);
  return first <= 0.5 && second - first > 1.2;
}

const GAPS = (r, c) => (c >= 17 && c < 22) || (c >= 40 && c < 47);

/** Name, title, true mask, predicted mask, and the size of the logits. */
const CASES = [
  ["tumour", "Tiny tumour", disc(40, 22, 2), disc(22, 44, 3), 3],
  ["cells", "Touching cells", touching, either(...CELLS.map(([r, c, radius]) => disc(r, c, radius + 0.5))), 3],
  ["shifted", "Shifted square", square(22, 18, 18), square(26, 25, 18), 3],
  ["far", "Far square", square(24, 6, 14), square(24, 42, 14), 3],
  ["vessel", "Thin vessel", vessel(1), vessel(2.5), 3],
  ["broken", "Broken vessel", vessel(1.5), without(vessel(1.5), GAPS), 3],
  ["empty", "Empty mask", nothing, disc(30, 34, 6), 3],
];

function drawn(shape, inside = 1, outside = 0) {
  return Int8Array.from({ length: PIXELS }, (_, i) => (shape(Math.floor(i / SIDE), i % SIDE) ? inside : outside));
}

// --- The state in the address ------------------------------------------------------------------------

/** Numbers as runs: `v.n` for n times v, in base 36; equal ones stand beside each other in pictures. */
function packed(numbers) {
  const runs = [];
  for (let i = 0; i < numbers.length; ) {
    let end = i;
    while (end < numbers.length && numbers[end] === numbers[i]) end++;
    runs.push(`${(numbers[i] + 128).toString(36)}.${(end - i).toString(36)}`);
    i = end;
  }
  return runs.join("_");
}

/** The numbers of `packed`, or `null` where a text is none. */
function unpacked(text) {
  const numbers = new Int8Array(PIXELS);
  let at = 0;
  for (const run of text.split("_")) {
    const [value, count] = run.split(".").map((part) => parseInt(part, 36));
    if (!(value >= 0 && value < 256 && count > 0 && at + count <= PIXELS)) return null;
    numbers.fill(value - 128, at, (at += count));
  }
  return at === PIXELS ? numbers : null;
}

// --- Elements ------------------------------------------------------------------------------------------

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made && key !== "list") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function svg(name, properties, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(properties)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** A number for people: four digits, powers of ten where they are shorter. */
function told(x) {
  if (!Number.isFinite(x)) return "–";
  const size = Math.abs(x);
  if (size < 5e-13) return "0";
  if (size >= 1e-3 && size < 1e4) return String(Number(x.toPrecision(4))).replace("-", "−");
  const [digits, power] = x.toExponential(1).split("e");
  return `${digits}·10${[...String(Number(power))].map((d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d] ?? "⁻").join("")}`.replace("-", "−");
}

/** A slider with its label and its value; steps are factors where the range asks for it. */
function slider({ label, low, high, factors = false, value, shown = told, step = 0 }, changed) {
  const to = (x) => (factors ? Math.log(x) : x), from = (x) => (factors ? Math.exp(x) : x);
  const steps = step ? Math.round((high - low) / step) : 200;
  const unit = (to(high) - to(low)) / steps;
  const input = element("input", { type: "range", min: 0, max: steps, step: 1 });
  const output = element("output", { "aria-live": "off" }, shown(value));
  input.value = Math.round((to(value) - to(low)) / unit);
  input.addEventListener("input", () => {
    const place = Number(input.value);
    const between = Number(from(to(low) + place * unit).toPrecision(3));
    const current = place === 0 ? low : place === steps ? high : between;
    output.value = shown(current);
    input.setAttribute("aria-valuetext", shown(current));
    changed(current);
  });
  input.setAttribute("aria-valuetext", shown(value));
  return element("label", { className: "lab-slider" }, element("span", {}, label), input, output);
}

// --- Pictures ---------------------------------------------------------------------------------------------

const small = document.createElement("canvas");
small.width = small.height = SIDE;

/** Draws one colour a pixel, with a strength from 0 to 1; no strength lets the page show through. */
function paintPixels(canvas, colour, strength) {
  const inner = small.getContext("2d"), image = inner.createImageData(SIDE, SIDE);
  for (let i = 0; i < PIXELS; i++) {
    const [red, green, blue] = colour(i);
    image.data.set([red, green, blue, 255 * Math.min(strength(i), 1)], 4 * i);
  }
  inner.putImageData(image, 0, 0);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

/** The outline of a mask, between its pixels and others. */
function outline(canvas, mask, colour) {
  const context = canvas.getContext("2d"), unit = canvas.width / SIDE;
  context.beginPath();
  const line = (r0, c0, r1, c1) => {
    context.moveTo(c0 * unit, r0 * unit);
    context.lineTo(c1 * unit, r1 * unit);
  };
  for (let r = 0; r < SIDE; r++)
    for (let c = 0; c < SIDE; c++) {
      if (!mask[r * SIDE + c]) continue;
      if (r === 0 || !mask[(r - 1) * SIDE + c]) line(r, c, r, c + 1);
      if (r === SIDE - 1 || !mask[(r + 1) * SIDE + c]) line(r + 1, c, r + 1, c + 1);
      if (c === 0 || !mask[r * SIDE + c - 1]) line(r, c, r + 1, c);
      if (c === SIDE - 1 || !mask[r * SIDE + c + 1]) line(r, c + 1, r + 1, c + 1);
    }
  context.strokeStyle = colour;
  context.lineWidth = Math.max(1.5, unit / 3);
  context.stroke();
}

const sigmoid = (z) => 1 / (1 + Math.exp(-z));

function showPrediction(canvas, logits, mask) {
  paintPixels(canvas, () => BLUE, (i) => sigmoid(logits[i]));
  outline(canvas, mask, `rgb(${VERMILION})`);
}

function largestOf(numbers) {
  let largest = 0;
  for (const x of numbers) largest = Math.max(largest, Math.abs(x));
  return largest;
}

// --- The lab -------------------------------------------------------------------------------------------------

/** One of the two losses that are looked at closely: its menu, settings, pictures and curve. */
class Panel {
  constructor(lab, letter, key, settings) {
    this.lab = lab;
    this.menu = element("select", { "aria-label": lab.single ? "Loss" : `Loss ${letter}` });
    for (const family of FAMILIES) {
      const entries = LOSSES.filter((entry) => entry.family === family);
      const options = entries.map((entry) => new Option(entry.title, entry.key));
      this.menu.append(element("optgroup", { label: family }, ...options));
    }
    this.menu.addEventListener("change", () => this.choose(this.menu.value));
    this.link = element("a", {}, "chapter");
    this.value = element("output", { className: "lab-value", "aria-live": "off" });
    this.sliders = element("div", { className: "lab-sliders" });
    this.prediction = element("canvas", { width: 192, height: 192, role: "img", "aria-label": "prediction, and the outline of the truth" });
    this.gradient = element("canvas", { width: 192, height: 192, role: "img", "aria-label": "gradient by the logits" });
    this.scale = element("p");
    this.curve = svg("svg", { viewBox: "0 0 200 40", preserveAspectRatio: "none", role: "img", "aria-label": "value by steps" });
    this.root = element(
      "section", { className: "lab-panel", "aria-label": lab.single ? "Loss" : `Loss ${letter}` },
      element("div", { className: "lab-head" }, lab.single ? null : element("b", {}, letter), this.menu, lab.root && !lab.single ? this.link : null),
      element("p", {}, "value ", this.value),
      this.sliders,
      element("div", { className: "lab-pictures" },
        element("div", {}, this.prediction, element("p", {}, "prediction")),
        element("div", {}, this.gradient, this.scale)),
      this.curve,
    );
    this.choose(key, settings);
  }

  choose(key, settings) {
    const entry = entryOf(key) ?? LOSSES[0];
    this.menu.value = entry.key;
    this.link.href = this.lab.chapter(entry);
    this.loss = new Loss(entry, settings);
    this.sliders.replaceChildren(
      ...entry.sliders.map((setting, i) =>
        slider({ ...setting, label: setting.symbol, value: this.loss.settings[i] }, (value) => {
          this.loss.settings[i] = value;
          this.lab.begin();
        })),
    );
    this.lab.begin();
  }

  reset() {
    this.logits = Float64Array.from(this.lab.levels, (level) => level / LEVELS);
    this.values = [];
    this.run();
  }

  run() {
    const { value, gradient } = this.loss.run(this.lab.scene, this.logits, true);
    this.values.push(value);
    this.slope = Float64Array.from(gradient);
  }

  step(rate) {
    for (let i = 0; i < PIXELS; i++) this.logits[i] -= rate * this.slope[i];
    this.run();
  }

  show() {
    this.value.value = told(this.values.at(-1));
    showPrediction(this.prediction, this.logits, this.lab.mask);
    const largest = largestOf(this.slope);
    paintPixels(this.gradient, (i) => (this.slope[i] < 0 ? BLUE : VERMILION), (i) => Math.abs(this.slope[i]) / (largest || 1));
    this.scale.replaceChildren("gradient ", element("span", { className: "lab-scale" },
      `−${told(largest)}`, element("i"), told(largest)));
    this.scale.title = "Blue: a step makes the logit larger. Vermilion: smaller. No colour: 0.";
    this.curve.replaceChildren();
    const finite = this.values.filter(Number.isFinite);
    if (finite.length > 1) {
      const [low, high] = [Math.min(...finite), Math.max(...finite)];
      const place = (v, i) => `${((200 * i) / (finite.length - 1)).toFixed(1)},${(37 - (34 * (v - low)) / (high - low || 1)).toFixed(1)}`;
      this.curve.append(svg("polyline", { points: finite.map(place).join(" "), fill: "none", stroke: "currentColor", "vector-effect": "non-scaling-stroke", "stroke-width": 1.5 }));
    }
    this.curve.style.display = finite.length > 1 ? "" : "none";
  }

  get settings() {
    return Object.fromEntries(this.loss.entry.sliders.map((s, i) => [s.name, this.loss.settings[i]]));
  }
}

class Lab {
  /** A lab in an element; `loss` makes it a small one with that loss alone. */
  constructor(place, { loss = null, root = null, keepsAddress = false } = {}) {
    Object.assign(this, { place, root, keepsAddress, single: Boolean(loss) });
    this.tool = "prediction";
    this.erases = false;
    this.radius = 2;
    this.certainty = 3;
    this.rate = 1000;
    this.steps = 0;
    this.goal = 0;
    this.losses = this.single ? [] : LOSSES.map((entry) => new Loss(entry));
    const state = this.read(keepsAddress ? location.hash.slice(1) : "");
    this.open(state.scene ?? "shifted", state.mask, state.levels);
    this.panels = [];
    this.panels.push(new Panel(this, "A", loss ?? state.a ?? "dice", state.settingsA));
    if (!this.single) this.panels.push(new Panel(this, "B", state.b ?? "boundary", state.settingsB));
    this.rate = state.rate ?? this.rate;
    this.build();
    this.begin();
    this.go(Math.min(state.steps ?? 0, 5000));
    this.touched = false; // until then the address stays as it came
  }

  /** Before another lab takes its place. */
  stop() {
    this.goal = 0;
    clearTimeout(this.writing);
    clearTimeout(this.listing);
  }

  // The state.

  open(name, mask = null, levels = null) {
    const [key, , truth, predicted, size] = CASES.find(([each]) => each === name) ?? CASES[2];
    this.name = mask ? null : key;
    this.mask = mask ?? drawn(truth);
    this.levels = levels ?? drawn(predicted, size * LEVELS, -size * LEVELS);
    this.scene = sceneOf(this.mask);
  }

  read(address) {
    const given = new URLSearchParams(address), state = {};
    const settings = (text) => {
      const pairs = (text ?? "").split("!").map((part) => part.split(":"));
      return Object.fromEntries(pairs.map(([key, x]) => [key, Number(x)]).filter(([, x]) => Number.isFinite(x)));
    };
    for (const name of ["a", "b"]) if (entryOf(given.get(name))) state[name] = given.get(name);
    state.settingsA = settings(given.get("sa"));
    state.settingsB = settings(given.get("sb"));
    state.scene = given.get("case");
    const [mask, levels] = ["t", "p"].map((name) => given.has(name) && unpacked(given.get(name)));
    if (mask && levels) Object.assign(state, { mask: mask.map((x) => (x ? 1 : 0)), levels });
    for (const [name, key] of [["rate", "rate"], ["n", "steps"]])
      if (Number(given.get(name)) > 0) state[key] = Number(given.get(name));
    return state;
  }

  get address() {
    const parts = this.name ? [["case", this.name]] : [["t", packed(this.mask)], ["p", packed(this.levels)]];
    for (const [letter, panel] of [["a", this.panels[0]], ["b", this.panels[1]]]) {
      if (!panel) continue;
      parts.push([letter, panel.loss.entry.key]);
      const changed = panel.loss.entry.sliders.filter((s, i) => panel.loss.settings[i] !== s.value);
      if (changed.length) parts.push([`s${letter}`, changed.map((s) => `${s.name}:${panel.settings[s.name]}`).join("!")]);
    }
    if (this.rate !== 1000) parts.push(["rate", this.rate]);
    if (this.steps) parts.push(["n", this.steps]);
    return parts.map(([key, value]) => `${key}=${value}`).join("&");
  }

  chapter(entry) {
    return this.root ? new URL(`notebooks/${entry.chapter}.html`, this.root).href : "";
  }

  /** From the painted prediction, with no step taken. */
  begin() {
    this.touched = true;
    this.goal = this.steps = 0;
    this.stale = true;
    this.refresh();
  }

  /** Soon, but once only: shows what has changed, and lists the values as time allows. */
  refresh() {
    if (this.asked || !this.board) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = null;
      if (this.stale) for (const panel of this.panels) panel.reset();
      this.stale = false;
      this.show();
    });
  }

  show() {
    showPrediction(this.board, Float64Array.from(this.levels, (level) => level / LEVELS), this.mask);
    this.showCursor();
    for (const panel of this.panels) panel.show();
    this.count.value = `${this.steps} step${this.steps === 1 ? "" : "s"}`;
    this.runButton.textContent = this.goal > this.steps ? "Pause" : "Descend";
    for (const button of this.presets) button.setAttribute("aria-pressed", String(button.value === this.name));
    if (this.list && this.goal <= this.steps) this.showList();
    clearTimeout(this.writing);
    this.writing = setTimeout(() => this.write(), 250);
  }

  write() {
    const address = `#${this.address}`;
    const page = this.keepsAddress ? location.href.split("#")[0] : this.root && new URL("book/choosing/lab.html", this.root).href;
    if (page) this.linked.href = page + address;
    if (this.keepsAddress && this.touched) history.replaceState(null, "", address);
  }

  // All values.

  showList() {
    clearTimeout(this.listing);
    const columns = [this.panels[0].logits, this.steps ? this.panels[1].logits : null];
    this.list.classList.toggle("lab-two", this.steps > 0);
    for (const head of this.list.querySelectorAll("th:nth-child(2)[scope=col]"))
      head.textContent = this.steps ? "after A" : "value";
    let next = 0;
    const go = () => {
      const end = performance.now() + 25;
      for (; next < this.losses.length && performance.now() < end; next++) {
        const key = this.losses[next].entry.key;
        const panel = this.panels.find((each) => each.loss.entry.key === key);
        columns.forEach((logits, column) => {
          const value = logits ? (panel?.loss ?? this.losses[next]).run(this.scene, logits).value : NaN;
          this.cells[next][column].textContent = logits ? told(value) : "";
          this.cells[next][column].value = value;
        });
      }
      if (next < this.losses.length) this.listing = setTimeout(go);
      else if (this.sorted) this.sort();
    };
    go();
  }

  sort() {
    for (const body of this.list.querySelectorAll("tbody")) {
      const rows = [...body.rows];
      const by = this.sorted ? (row) => row.cells[1].value : (row) => row.place;
      rows.sort((a, b) => by(a) - by(b) || a.place - b.place);
      body.append(...rows);
    }
  }

  // Steps.

  go(steps) {
    this.touched = true;
    this.goal = this.steps + steps;
    const turn = () => {
      if (this.steps >= this.goal) return this.show();
      const end = performance.now() + 12;
      do {
        for (const panel of this.panels) panel.step(this.rate);
        this.steps++;
      } while (steps < Infinity && this.steps < this.goal && performance.now() < end);
      this.show();
      requestAnimationFrame(turn);
    };
    if (steps > 0) requestAnimationFrame(turn);
  }

  // Painting.

  paint(row, column) {
    const reach = Math.floor(this.radius);
    for (let r = Math.max(row - reach, 0); r <= Math.min(row + reach, SIDE - 1); r++)
      for (let c = Math.max(column - reach, 0); c <= Math.min(column + reach, SIDE - 1); c++) {
        if ((r - row) ** 2 + (c - column) ** 2 > (this.radius + 0.3) ** 2) continue;
        const i = r * SIDE + c;
        if (this.tool === "truth") this.mask[i] = this.erases ? 0 : 1;
        else this.levels[i] = Math.round(this.certainty * LEVELS) * (this.erases ? -1 : 1);
      }
    this.name = null;
    if (this.tool === "truth") this.scene = sceneOf(this.mask);
    this.begin();
  }

  /** From one place to another, as a pointer may move in long steps. */
  stroke([r0, c0], [r1, c1]) {
    const steps = Math.max(Math.abs(r1 - r0), Math.abs(c1 - c0), 1);
    for (let i = 1; i <= steps; i++)
      this.paint(Math.round(r0 + ((r1 - r0) * i) / steps), Math.round(c0 + ((c1 - c0) * i) / steps));
  }

  listen(board) {
    let last = null;
    const at = (event) => {
      const box = board.getBoundingClientRect();
      const along = (x, start, length) => Math.max(0, Math.min(SIDE - 1, Math.floor(((x - start) / length) * SIDE)));
      return [along(event.clientY, box.top, box.height), along(event.clientX, box.left, box.width)];
    };
    board.addEventListener("pointerdown", (event) => {
      if (event.button > 0) return;
      try {
        board.setPointerCapture(event.pointerId);
      } catch {} // a pointer that is gone already
      last = at(event);
      this.cursor = null;
      this.paint(...last);
    });
    board.addEventListener("pointermove", (event) => {
      if (!last) return;
      const now = at(event);
      this.stroke(last, now);
      last = now;
    });
    for (const end of ["pointerup", "pointercancel"]) board.addEventListener(end, () => (last = null));
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    board.addEventListener("keydown", (event) => {
      if (moves[event.key]) {
        const [r, c] = this.cursor ?? [SIDE / 2, SIDE / 2], [down, right] = moves[event.key];
        const inside = (x) => Math.max(0, Math.min(SIDE - 1, x));
        this.cursor = [inside(r + down), inside(c + right)];
        this.refresh();
      } else if (event.key === " " && this.cursor) this.paint(...this.cursor);
      else return;
      event.preventDefault();
    });
    board.addEventListener("blur", () => {
      this.cursor = null;
      this.refresh();
    });
  }

  showCursor() {
    if (!this.cursor) return;
    const context = this.board.getContext("2d"), unit = this.board.width / SIDE;
    context.beginPath();
    context.arc((this.cursor[1] + 0.5) * unit, (this.cursor[0] + 0.5) * unit, (this.radius + 0.5) * unit, 0, 7);
    context.strokeStyle = getComputedStyle(this.board).color;
    context.lineWidth = 2;
    context.stroke();
  }

  // What stands on the page.

  build() {
    this.board = element("canvas", { width: 384, height: 384, tabIndex: 0, className: "lab-board", role: "application", "aria-label": "Picture to paint on: with a pointer, or with the arrow keys and the space bar" });
    this.listen(this.board);
    this.presets = CASES.map(([key, title]) => {
      const button = element("button", { type: "button", value: key }, title);
      button.addEventListener("click", () => {
        this.open(key);
        this.begin();
      });
      return button;
    });
    const name = `lab-tool-${++versions}`;
    const choice = (text, tool, erases) => {
      const input = element("input", { type: "radio", name, checked: tool === this.tool && erases === this.erases });
      input.addEventListener("change", () => Object.assign(this, { tool, erases }));
      return element("label", {}, input, ` ${text}`);
    };
    const button = (text, act) => {
      const made = element("button", { type: "button" }, text);
      made.addEventListener("click", act);
      return made;
    };
    this.runButton = button("Descend", () => (this.goal > this.steps ? (this.goal = this.steps) : this.go(Infinity)));
    this.runButton.classList.add("lab-main");
    this.count = element("output", { "aria-live": "off" });
    this.linked = element("a", { href: "" }, this.keepsAddress ? "link to this case" : "open in the loss lab");
    const controls = element(
      "div", { className: "lab-controls" },
      element("div", { className: "lab-presets", role: "group", "aria-label": "Cases" }, ...this.presets),
      element("fieldset", {},
        element("legend", {}, "the pointer"),
        element("div", { className: "lab-tools" },
          choice("paints the prediction", "prediction", false), choice("erases it", "prediction", true),
          choice("paints the truth", "truth", false), choice("erases it", "truth", true))),
      slider({ label: "brush", low: 0, high: 8, step: 1, value: this.radius, shown: (x) => `${2 * x + 1} px` }, (x) => (this.radius = x)),
      slider({ label: "painted p", low: 0.25, high: 8, step: 0.25, value: this.certainty, shown: (x) => sigmoid(x).toFixed(x > 4 ? 4 : 2) }, (x) => (this.certainty = x)),
      slider({ label: "rate", low: 1, high: 1e5, factors: true, value: this.rate }, (x) => (this.rate = x)),
      element("div", { className: "lab-buttons" },
        this.runButton,
        button("One step", () => this.go(1)),
        button("Reset", () => this.begin()),
        this.count),
      this.root || this.keepsAddress ? element("p", {}, this.linked) : null,
    );
    const legend = element("p", { className: "lab-legend" },
      element("i", { className: "lab-blue" }), " prediction, stronger where p is larger ",
      element("i", { className: "lab-line" }), " outline of the truth");
    this.place.classList.add("lab");
    this.place.classList.toggle("lab-single", this.single);
    const panels = this.panels.map((panel) => panel.root), picture = element("div", {}, this.board, legend);
    const row = (...parts) => element("div", { className: "lab-row" }, ...parts);
    if (this.single) this.place.replaceChildren(row(picture, ...panels), controls);
    else this.place.replaceChildren(row(picture, controls), row(...panels), this.buildList());
  }

  buildList() {
    this.cells = new Map();
    const cells = [];
    const tables = FAMILIES.map((family) => {
      const rows = [];
      LOSSES.forEach((entry, place) => {
        if (entry.family !== family) return;
        const name = this.root ? element("a", { href: this.chapter(entry) }, entry.title) : entry.title;
        cells[place] = [element("td"), element("td")];
        const row = element("tr", {}, element("th", { scope: "row" }, name), ...cells[place]);
        rows.push(Object.assign(row, { place }));
      });
      const head = element("tr", {}, element("th", { scope: "col" }, family), element("th", { scope: "col" }, "value"), element("th", { scope: "col" }, "after B"));
      return element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
    });
    this.cells = cells;
    const order = element("input", { type: "checkbox" });
    order.addEventListener("change", () => {
      this.sorted = order.checked;
      this.sort();
    });
    this.list = element("div", { className: "lab-list" }, ...tables);
    return element("div", {}, element("p", { className: "lab-order" }, element("label", {}, order, " by value")), this.list);
  }
}

function mount(place, options = {}) {
  return new Lab(place, options);
}

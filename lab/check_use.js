// Uses the lab as a reader does, and posts what went wrong. `lossCount` is set before.
const wait = (time) => new Promise((done) => setTimeout(done, time));
const found = [];
const check = (right, text) => right || found.push(text);
async function open(address, width = 1000) {
  const frame = document.createElement("iframe");
  frame.style = `width: ${width}px; height: 900px`;
  const loaded = new Promise((done) => (frame.onload = done));
  frame.src = `lab.html${address}`;
  document.body.append(frame);
  await loaded;
  await wait(500);
  return { frame, lab: frame.contentWindow.lossLab.labs[0], page: frame.contentDocument };
}
const press = (page, text) =>
  [...page.querySelectorAll("button")].find((button) => button.textContent === text).click();
async function use() {
  const { frame, lab, page } = await open("#case=far&a=dice&b=focal");
  const shown = () => [...page.querySelectorAll(".lab-value")].map((each) => each.value).join();
  check(lab.name === "far" && lab.panels[1].loss.entry.key === "focal", "the address is not read");
  const listed = () => [...page.querySelectorAll(".lab-list td:nth-child(2)")].map((td) => td.textContent);
  for (let i = 0; i < 100 && listed().some((text) => !text); i++) await wait(100);
  const numbers = listed();
  check(numbers.length === lossCount && numbers.every((text) => /\d/.test(text)), `values: ${numbers}`);

  const board = page.querySelector(".lab-board"), box = board.getBoundingClientRect();
  const at = (type, x, y) => board.dispatchEvent(new frame.contentWindow.PointerEvent(type, {
    pointerId: 1, bubbles: true, clientX: box.left + x * box.width, clientY: box.top + y * box.height }));
  const before = [shown(), lab.levels.filter((level) => level > 0).length];
  at("pointerdown", 0.2, 0.8);
  at("pointermove", 0.6, 0.8);
  at("pointerup", 0.6, 0.8);
  await wait(600);
  const painted = lab.levels.filter((level) => level > 0).length;
  check(painted > before[1] + 80 && shown() !== before[0], "a stroke of the pointer changes nothing");
  check(frame.contentWindow.location.hash.includes("p="), "what is painted is not in the address");

  const slider = page.querySelector(".lab-sliders input"), settled = shown();
  slider.value = slider.max;
  slider.dispatchEvent(new Event("input"));
  await wait(600);
  check(shown() !== settled, "a slider changes nothing");
  check(frame.contentWindow.location.hash.includes("sa=smooth:1000"), "a setting is not in the address");

  press(page, "One step");
  await wait(600);
  check(lab.steps === 1, "one step is not one");
  press(page, "Descend");
  await wait(1000);
  press(page, "Pause");
  await wait(600);
  const [panel] = lab.panels;
  check(lab.steps > 10, `only ${lab.steps} steps`);
  check(panel.values.at(-1) < panel.values[0], "descending does not lower the loss");
  check(panel.values.length === lab.steps + 1, "a step has no value");

  const again = await open(frame.contentWindow.location.hash, 380);
  for (let i = 0; i < 200 && again.lab.steps < lab.steps; i++) await wait(100);
  await wait(600);
  check(again.lab.steps === lab.steps, `${again.lab.steps} steps from the address, not ${lab.steps}`);
  for (const i of [0, 1])
    check(again.lab.panels[i].values.at(-1) === lab.panels[i].values.at(-1), "another value from the address");
  check(again.page.documentElement.scrollWidth <= 380, "wider than a phone");

  press(page, "Reset");
  board.focus();
  const key = (name) => board.dispatchEvent(new KeyboardEvent("keydown", { key: name, cancelable: true }));
  for (let i = 0; i < 20; i++) key("ArrowUp");
  key(" ");
  await wait(600);
  check(lab.levels[12 * 64 + 32] > 0, "the space bar does not paint");

  const place = document.createElement("div"), widget = (await import("./_static/lab.mjs")).default;
  document.body.append(place);
  widget.render({ model: { get: () => "tversky" }, el: place });
  await wait(600);
  check(/\d/.test(place.querySelector(".lab-value").value), "the module for notebooks shows nothing");
}
// What the page on the lab says of its cases, `book/choosing/lab.md`.
async function readPage() {
  const sigmoid = (z) => 1 / (1 + Math.exp(-z));
  const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
  const near = (got, said, by, what) => check(Math.abs(got - said) <= by, `${what}: ${got}, not ${said}`);
  async function see(address) {
    const { frame, lab } = await open(`#${address}`);
    const wrong = [...lab.levels.keys()].filter((i) => lab.levels[i] > 0 && !lab.mask[i]);
    const missed = [...lab.mask.keys()].filter((i) => lab.mask[i] && lab.levels[i] < 0);
    const pulls = (panel, places) => places.map((i) => Math.abs(panel.slope[i]));
    const descended = (panel, steps) => {
      for (let i = 0; i < steps; i++) panel.step(1000);
      return sum(wrong.map((i) => sigmoid(panel.logits[i]))) / wrong.length;
    };
    return { frame, lab, wrong, missed, pulls, descended, all: [...lab.mask.keys()] };
  }
  const largest = (numbers) => Math.max(...numbers);

  const empty = await see("case=empty&a=dice&b=binary_cross_entropy"), [dice, entropy] = empty.lab.panels;
  near(empty.wrong.length, 113, 0, "false pixels");
  near(largest(empty.pulls(dice, empty.all)), 5e-7, 0.3e-7, "Dice's gradient without an object");
  check(largest(empty.pulls(entropy, empty.all)) > 400 * largest(empty.pulls(dice, empty.all)), "not 400 times");
  near(empty.descended(dice, 200), 0.95, 0.005, "p after 200 steps of Dice");
  near(empty.descended(entropy, 200), 0.02, 0.005, "p after 200 steps of cross-entropy");
  const smooth = await see("case=empty&a=dice&sa=smooth:1000&b=dice");
  check(smooth.descended(smooth.lab.panels[0], 200) < 0.05, "a large s does not let go");

  const far = await see("case=far&a=dice&b=boundary"), [overlap, boundary] = far.lab.panels;
  const background = far.all.filter((i) => !far.lab.mask[i]), pulled = far.pulls(overlap, background);
  near(largest(pulled) / Math.min(...pulled), 1, 0.01, "Dice's gradients on background");
  near(far.pulls(overlap, far.missed)[0] / pulled[0], 57, 0.5, "a missed pixel against a false one");
  check(far.pulls(boundary, [31 * 64 + 55])[0] > 1.5 * far.pulls(boundary, [31 * 64 + 42])[0], "not with the distance");
  check(largest(far.pulls(boundary, far.missed)) < largest(far.pulls(boundary, far.wrong)) / 4, "it pulls at the object");

  const tumour = await see("case=tumour&a=binary_cross_entropy&b=focal");
  const share = ({ pulls, missed, wrong, all }, panel) => sum(pulls(panel, [...missed, ...wrong])) / sum(pulls(panel, all));
  near(tumour.missed.length, 13, 0, "missed pixels");
  near(tumour.wrong.length, 29, 0, "pixels taken for it");
  near(1 - share(tumour, tumour.lab.panels[0]), 0.83, 0.005, "background under cross-entropy");
  near(1 - share(tumour, tumour.lab.panels[1]), 0.03, 0.005, "background under the focal loss");
  const hardest = await see("case=tumour&a=focal&b=top_k_cross_entropy");
  near(share(hardest, hardest.lab.panels[1]), 0.7, 0.005, "wrong pixels under top-k");
}

use().then(readPage).catch((error) => found.push(String(error))).then(() =>
  fetch("found", { method: "POST", body: JSON.stringify(found) }));

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
}
use().catch((error) => found.push(String(error))).then(() =>
  fetch("found", { method: "POST", body: JSON.stringify(found) }));

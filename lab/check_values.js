// Computes all that `check.py` asks for, while the page loads: so the clock is a real one.
{
  function ask(method, path, body) {
    const request = new XMLHttpRequest();
    request.open(method, path, false);
    request.send(body);
    return request.responseText;
  }
  const { LOSSES, Loss, sceneOf } = lossLab;
  const { images, runs, runtime, programs, truth, logits: z, number } = JSON.parse(ask("GET", "inputs"));
  const scenes = images.map(({ mask }) => sceneOf(mask));
  const logits = images.map(({ logits }) => Float64Array.from(logits));
  const size = images[0].mask.length, all = new Float64Array(runs.length * (size + 1));
  const made = {};
  runs.forEach(([key, image, settings], i) => {
    const loss = (made[key] ??= new Loss(LOSSES.find((entry) => entry.key === key)));
    loss.settings = settings;
    const { value, gradient } = loss.run(scenes[image], logits[image], true);
    all[i * (size + 1)] = value;
    all.set(gradient, i * (size + 1) + 1);
  });
  ask("POST", "results", all);
  ask("POST", "cells", Float64Array.from(scenes.flatMap(({ cells }) => [...cells])));
  const [y, few] = [truth, z].map((numbers) => Float64Array.from(numbers));
  const single = programs.flatMap((text) => {
    const made = new Function(`${runtime}\nreturn (${text})();`)();
    made.truth(y, [number]);
    return [made.value(y, few, [number]), ...made.gradient(y, few, [number])];
  });
  ask("POST", "operations", Float64Array.from(single));
  const times = [], listed = LOSSES.map((entry) => new Loss(entry));
  const looked = ["dice", "focal"].map((key) => new Loss(LOSSES.find((entry) => entry.key === key)));
  for (let i = 0; i < 30; i++) {
    const start = performance.now(), scene = sceneOf(images[0].mask);
    for (const loss of listed) loss.run(scene, logits[0]);
    for (const loss of looked) loss.run(scene, logits[0], true);
    times.push(performance.now() - start);
  }
  ask("POST", "times", Float64Array.from(times));
}

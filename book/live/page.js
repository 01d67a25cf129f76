/* The live page: what the reader chooses, and what the network makes of it. */
"use strict";
(function (live) {
  const root = document.getElementById("live-page"), home = new URL("data/", document.currentScript.src);
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const status = root.querySelector(".live-status");
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  const kilobytes = (bytes) => `${(bytes / 1000).toFixed(1)} kB`;
  const shown = { pixels: null, label: null, task: null, layer: "layer1.0.conv2.weight" };
  const unpacking = {}, tasks = {}; // promises of tasks, and those that were unpacked
  let backbone, set;

  live.files = {};

  /* The bytes of a file, which a script brings: so the page needs no server. */
  function file(name) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL(`${name}.js`, home);
      script.onload = () => resolve(Uint8Array.from(atob(live.files[name]), (letter) => letter.charCodeAt(0)));
      script.onerror = () => reject(new Error(`${name} cannot be loaded; reload the page`));
      document.head.append(script);
    });
  }

  function say(text, state) {
    status.textContent = text;
    root.dataset.state = state;
  }

  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  function radio(group, value, ...children) {
    const input = element("input", { type: "radio", name: group, value });
    return element("label", {}, input, ...children);
  }

  /* Whether the decoded bits are those that were saved, in words. */
  async function verdict(off, digest) {
    if (!globalThis.crypto?.subtle) return "its checksum is compared on https only";
    const packed = Object.keys(off).sort().flatMap((name) => {
      const bytes = new Uint8Array(Math.ceil(off[name].length / 8));
      off[name].forEach((bit, k) => (bytes[k >> 3] |= bit ? 0 : 128 >> (k & 7)));
      return [bytes];
    });
    const found = new Uint8Array(await crypto.subtle.digest("SHA-256", await new Blob(packed).arrayBuffer()));
    const text = [...found].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    if (text !== digest) throw new Error("the decoded mask is not the one that was saved");
    return "its SHA-256 is that of the mask that was saved";
  }

  async function unpack(name) {
    const bytes = await file(name), opened = await live.open(bytes), { description } = opened;
    const started = performance.now();
    const weights = Object.fromEntries(Object.keys(description.mask.tensors).map((key) => [key, backbone[key]]));
    const off = await live.decode(opened.parts.mask, weights, (done, all) => {
      if (shown.task === name) say(`Decoding the mask of ${title(name)}: layer ${done} of ${all} …`, "decoding");
      return new Promise((resolve) => setTimeout(resolve));
    });
    const seconds = (performance.now() - started) / 1000, beside = await live.beside(opened);
    return {
      off, description, head: beside.head, mask: opened.parts.mask.length, size: bytes.length, seconds,
      verdict: await verdict(off, description.mask.digest),
      on: live.masked(backbone, beside, off), bare: live.masked(backbone, beside, {}),
    };
  }

  const title = (name) => set.tasks.find((task) => task.name === name).stand_in;

  async function choose(name) {
    shown.task = name;
    try {
      tasks[name] = await (unpacking[name] ??= unpack(name));
    } catch (error) {
      say(error.message, "failed");
      throw error;
    }
    if (shown.task !== name) return; // the reader has gone on
    describe(tasks[name]);
    predict();
  }

  function describe({ description, mask, size, seconds, verdict, off }) {
    part("file").textContent =
      `The mask of ${title(shown.task)} takes ${kilobytes(mask)}; its file, with norm statistics and classifier,`
      + ` ${kilobytes(size)}. Decoded in ${seconds.toFixed(1)} s; ${verdict}.`
      + ` On its test images the task was right on ${percent(description.score.top1)}.`;
    part("layers").replaceChildren(...Object.keys(off).sort().map((name) => {
      const share = off[name].reduce((a, b) => a + b, 0) / off[name].length;
      const label = radio("layer", name, element("span", { textContent: name.replace(/\.weight$/, "") }),
        element("span", { className: "live-bar" }, element("i", { style: `width: ${100 * share}%` })),
        element("span", { className: "live-number", textContent: percent(share) }));
      label.firstChild.checked = name === shown.layer;
      return label;
    }));
    layer();
  }

  function layer() {
    const { off } = tasks[shown.task], name = shown.layer, bits = off[name];
    live.map(part("map"), backbone[name], bits);
    const count = bits.reduce((a, b) => a + b, 0);
    const text = `${name.replace(/\.weight$/, "")}: a row for each of ${backbone[name].shape[0]} filters, a point for each`
      + ` of ${bits.length} weights, orange above zero, blue below, the brighter the larger; black are the ${count} that`
      + ` the mask of ${title(shown.task)} switches off.`;
    part("legend").textContent = text;
    part("map").setAttribute("aria-label", text);
  }

  /* Classes by falling probability. */
  function ranked(logits) {
    const most = Math.max(...logits), shares = Array.from(logits, (value) => Math.exp(value - most));
    const sum = shares.reduce((a, b) => a + b, 0);
    return shares.map((share, k) => [share / sum, k]).sort((a, b) => b[0] - a[0]);
  }

  function predict() {
    const task = tasks[shown.task], { classes, preprocessing } = task.description;
    live.show(part("seen"), shown.pixels);
    const started = performance.now();
    const logits = live.logits(shown.pixels, part("applied").checked ? task.on : task.bare, task.head, preprocessing);
    const order = ranked(logits), told = (performance.now() - started).toFixed(0);
    part("answer").textContent = `${classes[order[0][1]]}, with ${percent(order[0][0])}. ${truth(order[0][1], classes)}`;
    part("classes").replaceChildren(...order.slice(0, 5).map(([share, k]) => element("li", {},
      element("span", { textContent: classes[k] }),
      element("span", { className: "live-bar" }, element("i", { style: `width: ${100 * share}%` })),
      element("span", { className: "live-number", textContent: percent(share) }))));
    const how = part("applied").checked ? "with" : "with every weight on, though its classifier was trained under";
    say(`Computed here in ${told} ms, ${how} the mask of ${title(shown.task)}.`, "ready");
  }

  function truth(found, classes) {
    if (shown.label === null) return "";
    if (shown.from !== shown.task) return `The image is one of ${title(shown.from)}: this task has no class for it.`;
    return found === shown.label ? "That is its label." : `Its label is ${classes[shown.label]}.`;
  }

  function listImages(images) {
    part("images").replaceChildren(...set.tasks.map(({ name, stand_in, labels }) => element("div", {},
      element("span", { textContent: stand_in }),
      ...labels.map((_, k) => {
        const canvas = element("canvas", { width: 24, height: 24 });
        live.show(canvas, pixels(images, name, k));
        canvas.setAttribute("role", "img");
        canvas.setAttribute("aria-label", `image ${k + 1} of ${stand_in}`);
        return radio("image", `${name} ${k}`, canvas);
      }))));
    part("tasks").replaceChildren(...set.tasks.map(({ name, stand_in }) => radio("task", name, stand_in)));
  }

  const pixels = (images, name, k) => images[name].values.subarray(k * 1728, (k + 1) * 1728);

  async function start() {
    const [weights, pictures] = await Promise.all(["backbone", "images"].map(async (name) => live.open(await file(name))));
    backbone = await live.unpacked(weights.description.state, weights.parts.values);
    set = pictures.description;
    const images = await live.unpacked(set.images, pictures.parts.values);
    listImages(images);
    const drawing = new live.Drawing(part("drawing"), (drawn) => {
      root.querySelector('[value="drawn"]').checked = true;
      Object.assign(shown, { pixels: drawn, label: null });
      if (tasks[shown.task]) predict();
    });
    const chosen = {
      image: (value) => {
        const [from, k] = value.split(" ");
        if (from === "drawn") Object.assign(shown, { pixels: drawing.pixels(), label: null });
        else {
          const label = set.tasks.find((task) => task.name === from).labels[k];
          Object.assign(shown, { pixels: pixels(images, from, Number(k)), label, from });
        }
        if (tasks[shown.task]) predict();
      },
      task: choose,
      layer: (value) => ((shown.layer = value), layer()),
    };
    root.addEventListener("change", ({ target }) => (target.type === "radio" ? chosen[target.name](target.value) : predict()));
    part("clear").addEventListener("click", () => (drawing.clear(), drawing.changed(drawing.pixels())));
    const first = set.tasks[0].name;
    root.querySelector(`[value="${first} 0"]`).checked = root.querySelector(`[name="task"]`).checked = true;
    chosen.image(`${first} 0`);
    await choose(first);
  }

  start().catch((error) => say(error.message, "failed"));
})((globalThis.live ??= {}));

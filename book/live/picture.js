/* What the live page draws: images, a layer's weights, and the reader's own hand. */
"use strict";
(function (live) {
  const SIDE = 24, INK = 22, STEP = 10; // the network's image; width of the pen and a step of it, in pixels of the drawing
  const PAPER = "rgb(232, 232, 228)", BLACK = "rgb(24, 24, 32)";

  /* Pixels (uint8, channel by channel) onto a canvas of their size. */
  live.show = function (canvas, pixels) {
    const found = new ImageData(SIDE, SIDE), size = SIDE * SIDE;
    for (let k = 0; k < size; k++) {
      for (let channel = 0; channel < 3; channel++) found.data[4 * k + channel] = pixels[channel * size + k];
      found.data[4 * k + 3] = 255;
    }
    canvas.getContext("2d").putImageData(found, 0, 0);
  };

  /* The weights of a layer, a pixel each, a filter a row: orange above 0, blue below, black where off. */
  live.map = function (canvas, { shape, values }, off) {
    const rows = shape[0], width = values.length / rows;
    canvas.width = width;
    canvas.height = rows;
    const found = new ImageData(width, rows);
    const most = 2 * Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
    values.forEach((value, k) => {
      const light = off[k] ? 0 : 0.35 + 0.65 * Math.min(Math.abs(value) / most, 1);
      const colour = value > 0 ? [255, 176, 84] : [104, 176, 255];
      colour.forEach((part, channel) => (found.data[4 * k + channel] = part * light));
      found.data[4 * k + 3] = 255;
    });
    canvas.getContext("2d").putImageData(found, 0, 0);
    // points that are smaller than the screen's are mixed, not left out
    const fits = width <= canvas.clientWidth && rows <= canvas.clientHeight;
    canvas.style.imageRendering = fits ? "pixelated" : "auto";
  };

  /* A canvas to draw on; calls `changed` with the network's pixels. */
  live.Drawing = class {
    constructor(canvas, changed) {
      this.canvas = canvas;
      this.changed = changed;
      this.pen = canvas.getContext("2d", { willReadFrequently: true });
      this.at = [canvas.width / 2, canvas.height / 2];
      this.down = false; // the pen of the keyboard
      this.clear();
      canvas.addEventListener("pointerdown", (event) => {
        canvas.setPointerCapture(event.pointerId);
        this.at = this.place(event);
        this.line(this.at);
      });
      canvas.addEventListener("pointermove", (event) => {
        if (event.buttons) this.line(this.place(event));
      });
      canvas.addEventListener("keydown", (event) => this.key(event));
    }

    place(event) {
      const box = this.canvas.getBoundingClientRect();
      const scale = this.canvas.width / box.width;
      return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    }

    key(event) {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], " ": [0, 0] }[event.key];
      if (!step) return;
      event.preventDefault();
      if (event.key === " ") this.down = !this.down;
      const to = this.at.map((value, k) => Math.min(Math.max(value + STEP * step[k], 0), this.canvas.width));
      if (this.down) this.line(to);
      this.at = to;
    }

    line(to) {
      Object.assign(this.pen, { lineWidth: INK, lineCap: "round", strokeStyle: BLACK });
      this.pen.beginPath();
      this.pen.moveTo(...this.at);
      this.pen.lineTo(...to);
      this.pen.stroke();
      this.at = to;
      this.changed(this.pixels());
    }

    clear() {
      this.pen.fillStyle = PAPER;
      this.pen.fillRect(0, 0, this.canvas.width, this.canvas.height);
    }

    /* The drawing in the network's size: the mean of each square. */
    pixels() {
      const { width } = this.canvas, part = width / SIDE, { data } = this.pen.getImageData(0, 0, width, width);
      return Uint8Array.from({ length: 3 * SIDE * SIDE }, (_, k) => {
        const channel = Math.floor(k / (SIDE * SIDE)), top = Math.floor(k / SIDE) % SIDE, left = k % SIDE;
        let sum = 0;
        for (let y = 0; y < part; y++) {
          for (let x = 0; x < part; x++) sum += data[4 * ((top * part + y) * width + left * part + x) + channel];
        }
        return sum / (part * part);
      });
    }
  };
})((globalThis.live ??= {}));

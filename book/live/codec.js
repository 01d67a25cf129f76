/* Coded masks, decoded given the frozen weights: the twin of submasking/tasks/codec/, version 3, without a sibling.
   Whole numbers throughout; the book's page on the mask file describes every step. */
"use strict";
(function (live) {
  const KNOTS = [0, 64, 88, 104, 116, 128, 136, 144, 152, 160, 168, 176, 192];
  const POWERS = [65536, 71468, 77936, 84990, 92682, 101070, 110218, 120194];
  const LEVELS = 256, MIDDLE = 128, LIMIT = 8000, TERMS = 8, CLASSES = 128;
  const PLAIN = [0, 64, 0, 0, 0, 0, 0, 0];
  const SQUARES = Array.from({ length: LEVELS }, (_, k) => {
    const level = k - MIDDLE, octaves = Math.min(Math.floor(level / 8), 10), power = POWERS[((level % 8) + 8) % 8];
    return octaves >= 0 ? power * 2 ** octaves : Math.floor(power / 2 ** -octaves);
  });

  const clip = (value, low, high) => Math.min(Math.max(value, low), high);
  const bounded = (value) => clip(value, -LIMIT, LIMIT);
  const chosen = (shift) => shift !== -128 && shift !== 127;

  const single = new Float32Array(1), pattern = new Int32Array(single.buffer);

  /* 16 times the base-2 logarithm of a positive number, linear between powers of two, rounded down. */
  function log2(value) {
    single[0] = value;
    return pattern[0] >> 19;
  }

  /* How a tensor is cut into stages: submasking/tasks/codec/layout.py. */
  class Layout {
    constructor(shape) {
      const size = shape.reduce((a, b) => a * b, 1);
      this.rows = shape.length < 2 ? 1 : shape[0];
      this.columns = shape.length < 2 ? size : shape[1];
      this.kernel = shape.slice(2).reduce((a, b) => a * b, 1);
      this.width = this.columns * this.kernel;
      this.stages = size <= 1 << 18 ? 32 : 16;
      this.blocks = Math.ceil(this.rows / this.stages);
      this.places = Math.ceil(this.width / this.stages);
      this.large = this.rows * this.width >= 128 && Math.min(this.rows, this.width) >= 4;
    }

    /* Calls `use` with position in the stage, row and place in the row of each weight, in the order of coding. */
    each(stage, use) {
      const { stages, places, rows, width } = this, padded = places * stages;
      for (let row = 0; row < rows; row++) {
        const first = stage - (row % stages);
        for (let place = 0; place < places; place++) {
          const turned = place * stages + first, across = turned >= 0 ? turned : turned + padded;
          if (across < width) use(row * places + place, row, across);
        }
      }
    }
  }

  /* The running context of one tensor: submasking/tasks/codec/context.py. */
  class Context {
    constructor(weights, shape) {
      this.layout = new Layout(shape);
      const { rows, columns, kernel, width, stages, blocks, places } = this.layout;
      const bits = new Int32Array(weights.buffer, weights.byteOffset, weights.length);
      let sum = 0;
      for (const word of bits) sum += (word >> 19) & 0xfff;
      const centre = Math.floor(sum / Math.max(bits.length, 1));
      this.axes = [rows, columns, kernel].map((length) => ({
        length, mean: new Float64Array(length), squares: new Float64Array(2 * length), off: new Float64Array(2 * length),
      }));
      this.codes = Array.from({ length: stages }, () => new Uint16Array(blocks * stages * places));
      for (let stage = 0; stage < stages; stage++) {
        this.layout.each(stage, (at, row, across) => {
          const word = bits[row * width + across], negative = word < 0 ? 1 : 0;
          const level = clip(((word >> 19) & 0xfff) - (centre - MIDDLE), 0, LEVELS - 1);
          this.codes[stage][at] = level + negative * LEVELS;
          this.along(row, across, (axis, k) => {
            axis.mean[k] += level;
            axis.squares[2 * k + negative] += SQUARES[level];
          });
        });
      }
      for (const axis of this.axes) {
        const share = Math.max(Math.floor(bits.length / axis.length), 1);
        axis.mean = axis.mean.map((total) => Math.floor(total / share) - MIDDLE);
      }
    }

    along(row, across, use) {
      const kernel = this.layout.kernel;
      use(this.axes[0], row);
      use(this.axes[1], Math.floor(across / kernel));
      use(this.axes[2], across % kernel);
    }

    /* 16 log2 of (off + 1) / (expected off + 1) so far, per row, column and kernel position, by sign. */
    lifts() {
      const sum = (values) => values.reduce((a, b) => a + b, 0);
      const total = sum(this.axes[0].off), squares = sum(this.axes[0].squares);
      const shift = 2 ** Math.max(live.exponent(squares) - (54 - live.exponent(total)), 0);
      const whole = Math.max(Math.floor(squares / shift), 1);
      return this.axes.map((axis) =>
        axis.off.map((off, k) =>
          log2(off * 256 + 256) - log2(quotient(total * 256, Math.floor(axis.squares[k] / shift), whole) + 256)));
    }

    /* Take in the decoded bits of a stage. */
    update(stage, off) {
      this.layout.each(stage, (at, row, across) => {
        if (!off[row * this.layout.width + across]) return;
        const sign = this.codes[stage][at] >= LEVELS ? 1 : 0;
        this.along(row, across, (axis, k) => (axis.off[2 * k + sign] += 1));
      });
    }

    /* Add to the index of each place of a stage what its row, column and kernel position contribute, in place. */
    spread(stage, terms, index) {
      const kernel = this.layout.kernel, codes = this.codes[stage];
      this.layout.each(stage, (at, row, across) => {
        const sign = codes[at] >= LEVELS ? 1 : 0;
        index[at] += bounded(terms[0][2 * row + sign]) + bounded(terms[1][2 * Math.floor(across / kernel) + sign])
          + bounded(terms[2][2 * (across % kernel) + sign]);
      });
      return index;
    }
  }

  /* a * b / c rounded down, exact where the product is beyond what a double holds. */
  function quotient(a, b, c) {
    return a * b <= Number.MAX_SAFE_INTEGER ? Math.floor((a * b) / c) : Number((BigInt(a) * BigInt(b)) / BigInt(c));
  }

  /* What the model adds by sign: slopes of the mean level, of the same sign's lift, of the other sign's. */
  function term([level, same, other], mean, lift) {
    return lift.map((value, k) => (level * mean[k >> 1] + same * value + other * lift[k ^ 1]) >> 6);
  }

  /* The head of a coded mask: coefficients, a shift per tensor, shares of the classes, refinement. */
  function head(bytes, tensors) {
    if (bytes[0] !== 3) throw new Error(`a coded mask must be of version 3, got ${bytes[0]}`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const numbers = Array.from({ length: 23 }, (_, k) => view.getInt16(1 + 2 * k, true));
    const shifts = tensors.map((_, k) => view.getInt8(47 + k));
    const at = 47 + tensors.length, zeros = new Float64Array(CLASSES);
    for (let k = 0; k < CLASSES; k++) {
      const code = k - bytes[at];
      zeros[k] = live.ZEROS[code >= 0 && code < bytes[at + 1] ? bytes[at + 2 + code] : 0];
    }
    const slopes = [numbers.slice(13, 16), numbers.slice(16, 19), numbers.slice(19, 22)];
    const large = tensors.map((tensor, k) => chosen(shifts[k]) && tensor.layout.large);
    const { refinement, used } = refined(bytes.subarray(at + 2 + bytes[at + 1]), large);
    return { knots: numbers.slice(0, 13), slopes, shifts, zeros, refinement, end: at + 2 + bytes[at + 1] + used };
  }

  /* Coefficients of the refinement of each tensor, null where there is none. */
  function refined(bytes, large) {
    if (bytes[0] === 0) return { refinement: null, used: 1 };
    const signed = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length), common = [...signed.subarray(1, 1 + TERMS)];
    const places = large.flatMap((is, k) => (is ? [k] : [])), start = 1 + TERMS + Math.ceil(places.length / 8);
    const own = places.filter((_, k) => (bytes[1 + TERMS + (k >> 3)] >> (7 - (k & 7))) & 1);
    const refinement = large.map((is) => (is ? [...common] : [...PLAIN]));
    const used = rice(bytes.subarray(start), own.length, (k, column, value) => (refinement[own[k]][column] += value));
    return { refinement, used: start + used };
  }

  /* Reads a Rice code of so many rows, column by column; returns the number of bytes. */
  function rice(bytes, rows, put) {
    let at = 0;
    const bit = () => (bytes[at >> 3] >> (7 - (at++ & 7))) & 1;
    const number = (length) => {
      let value = 0;
      for (let k = 0; k < length; k++) value = 2 * value + bit();
      return value;
    };
    for (let column = 0; column < (rows ? TERMS : 0); column++) {
      const k = number(3);
      for (let row = 0; row < rows; row++) {
        let ones = 0;
        while (bit()) ones++;
        const folded = ones * 2 ** k + number(k);
        put(row, column, folded % 2 ? -(folded >> 1) - 1 : folded >> 1);
      }
    }
    return Math.ceil(at / 8);
  }

  /* What each level contributes to the index, with the tensor's shift. */
  function curve(knots, shift) {
    return Int16Array.from({ length: 2 * LEVELS }, (_, code) => {
      const level = code % LEVELS;
      const left = clip(KNOTS.filter((knot) => knot <= level).length - 1, 0, KNOTS.length - 2);
      const run = KNOTS[left + 1] - KNOTS[left];
      const rise = Math.floor(((knots[left + 1] - knots[left]) * (Math.min(level, 192) - KNOTS[left])) / run);
      return clip(knots[left] + rise, -8000, 8000) + 2 * shift;
    });
  }

  function tensorOff(coder, model, number, context) {
    const { layout } = context, own = model.refinement && layout.large ? model.refinement[number] : null;
    const factors = own ? new live.Factors(context) : null;
    const off = new Uint8Array(layout.rows * layout.width), levels = curve(model.knots, model.shifts[number]);
    for (let stage = 0; stage < layout.stages; stage++) {
      const lifts = context.lifts();
      const terms = lifts.map((lift, axis) => term(model.slopes[axis], context.axes[axis].mean, lift));
      const index = context.spread(stage, terms, Int16Array.from(context.codes[stage], (code) => levels[code]));
      const final = own ? second(own, context, stage, index, factors.pull(stage), lifts) : index;
      layout.each(stage, (at, row, across) => {
        off[row * layout.width + across] = coder.bit(model.zeros[clip((final[at] >> 3) + CLASSES / 2, 0, CLASSES - 1)]);
      });
      context.update(stage, off);
      if (factors && stage + 1 < layout.stages) factors.update(stage, off, index);
    }
    return off;
  }

  /* The refined index of each place of a stage. */
  function second([shift, scale, early, late, ...along], context, stage, index, pull, lifts) {
    const [rows, columns] = [0, 1].map((axis) =>
      term([0, along[2 * axis], along[2 * axis + 1]], context.axes[axis].mean, lifts[axis]));
    const strength = early + Math.floor((late * stage) / context.layout.stages);
    const found = index.map((value, at) => bounded(((value * scale) >> 6) + ((pull[at] * strength) >> 7) + 2 * shift));
    return context.spread(stage, [rows, columns, new Float64Array(2 * context.layout.kernel)], found);
  }

  /* Which weights are off, one byte each, by name.
     `tensors` are { name: { shape, values } } of exactly the coded weights; `pause` is awaited after each. */
  live.decode = async function (bytes, tensors, pause = async () => {}) {
    const names = Object.keys(tensors).sort(), found = {};
    const listed = names.map((name) => ({ ...tensors[name], layout: new Layout(tensors[name].shape) }));
    const model = head(bytes, listed), coder = new live.RangeDecoder(bytes.slice(model.end));
    for (const [number, { shape, values }] of listed.entries()) {
      const shift = model.shifts[number];
      found[names[number]] = chosen(shift) && values.length
        ? tensorOff(coder, model, number, new Context(values, shape))
        : new Uint8Array(values.length).fill(shift === 127 ? 1 : 0);
      await pause(number + 1, names.length);
    }
    return found;
  };
})((globalThis.live ??= {}));

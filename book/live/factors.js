/* What the bits decoded so far say of one that is to come: the twin of submasking/tasks/codec/factors.py.
   A double holds every whole number here exactly, whatever the order of sums; divisions and roots round as IEEE 754
   says; single precision, where Python has it, is asked for by Math.fround. So each number is Python's, bit for bit. */
"use strict";
(function (live) {
  const RANK = 24, UNIT = 1024, ONE = 16, NOISE = 2, NORM = 10, RIGHT = 11, LIMIT = 8191;
  const EDGES = [-109, -72, -53, -40, -30, -20, -12, -4, 5, 13, 21, 31, 41, 54, 73, 110];
  const EXPECTED = Array.from({ length: 256 }, (_, k) => EDGES.filter((edge) => edge <= k - 128).length);

  const word = new DataView(new ArrayBuffer(8));

  /* The e of m * 2 ** e with m in [1/2, 1), of a whole number how many bits it has; 0 for 0. */
  function exponent(value) {
    if (value === 0) return 0;
    word.setFloat64(0, value);
    return ((word.getUint16(0) >> 4) & 0x7ff) - 1022;
  }

  live.exponent = exponent;

  /* To the nearest whole number, halves to the even one. */
  function rint(value) {
    const floor = Math.floor(value), rest = value - floor;
    if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
    return floor % 2 === 0 ? floor : floor + 1;
  }

  const clip = (value, limit) => Math.min(Math.max(value, -limit), limit);

  /* Matrices are { rows, columns, data }, row by row. */
  function matrix(rows, columns, data = new Float64Array(rows * columns)) {
    return { rows, columns, data };
  }

  /* left times right; most entries of the surprises are 0, which is what makes this fast. */
  function product(left, right) {
    const n = right.columns, found = matrix(left.rows, n), [a, b, sums] = [left.data, right.data, found.data];
    for (let i = 0, at = 0; i < left.rows; i++) {
      for (let j = 0; j < left.columns; j++) {
        const value = a[at++];
        if (value !== 0) for (let k = 0, to = i * n, from = j * n; k < n; k++) sums[to++] += value * b[from++];
      }
    }
    return found;
  }

  /* The transpose of left, times right. */
  function crossed(left, right) {
    const n = right.columns, found = matrix(left.columns, n), [a, b, sums] = [left.data, right.data, found.data];
    for (let i = 0, at = 0; i < left.rows; i++) {
      for (let j = 0; j < left.columns; j++) {
        const value = a[at++];
        if (value !== 0) for (let k = 0, to = j * n, from = i * n; k < n; k++) sums[to++] += value * b[from++];
      }
    }
    return found;
  }

  const transposed = (given) =>
    matrix(given.columns, given.rows,
      given.data.map((_, k) => given.data[(k % given.rows) * given.columns + Math.floor(k / given.rows)]));

  /* Each column times a power of two, so that its largest entry lies below 2 ** bits, rounded. */
  function below(given, bits) {
    const { rows, columns, data } = given, found = matrix(rows, columns);
    for (let column = 0; column < columns; column++) {
      let largest = 0;
      for (let row = 0; row < rows; row++) largest = Math.max(largest, Math.abs(data[row * columns + column]));
      const factor = 2 ** (bits - exponent(largest));
      for (let row = 0; row < rows; row++) {
        found.data[row * columns + column] = rint(data[row * columns + column] * factor);
      }
    }
    return found;
  }

  function identity(size) {
    const found = matrix(size, size);
    for (let k = 0; k < size; k++) found.data[k * size + k] = 1;
    return found;
  }

  /* The rows that turn columns with these products into orthogonal ones of about the length `unit`. */
  function mixing(given, unit) {
    const n = given.rows, gram = given.data, mixed = identity(n).data;
    const least = Array.from({ length: n }, (_, k) => gram[k * n + k] * 2 ** -16);
    for (let j = 0; j < n; j++) {
      if (gram[j * n + j] <= least[j]) {
        for (let k = 0; k < n; k++) gram[j * n + k] = gram[k * n + j] = mixed[j * n + k] = 0;
        continue;
      }
      for (let i = j + 1; i < n; i++) {
        const share = gram[i * n + j] / gram[j * n + j];
        for (let k = 0; k < n; k++) {
          mixed[i * n + k] -= share * mixed[j * n + k];
          gram[i * n + k] -= share * gram[j * n + k];
        }
      }
      const scale = unit / Math.sqrt(gram[j * n + j]);
      for (let k = 0; k < n; k++) mixed[j * n + k] *= scale;
    }
    return matrix(n, n, mixed);
  }

  /* The inverse of a positive definite matrix, by Gauss-Jordan. */
  function inverted(given) {
    const n = given.rows, left = given.data, inverse = identity(n).data, share = new Float64Array(n);
    for (let j = 0; j < n; j++) {
      const pivot = left[j * n + j];
      for (let k = 0; k < n; k++) {
        left[j * n + k] /= pivot;
        inverse[j * n + k] /= pivot;
      }
      for (let i = 0; i < n; i++) share[i] = left[i * n + j];
      for (let i = 0; i < n; i++) {
        if (i === j) continue;
        for (let k = 0; k < n; k++) {
          left[i * n + k] -= share[i] * left[j * n + k];
          inverse[i * n + k] -= share[i] * inverse[j * n + k];
        }
      }
    }
    return matrix(n, n, inverse);
  }

  /* Whole columns of length 2 ** NORM that span what the given ones span. */
  function orthonormal(given) {
    const columns = below(given, 12);
    const mixed = mixing(crossed(columns, columns), 2 ** (NORM + 20));
    mixed.data = mixed.data.map((value) => clip(rint(value), 2 ** 36));
    const found = product(columns, transposed(mixed));
    found.data = found.data.map((value) => clip(rint(value / 2 ** 20), 2 ** NORM));
    return found;
  }

  /* I - (I + (gram / noise) ** 2) ** -1. */
  function signal(gram, noise) {
    const n = gram.rows;
    const share = matrix(n, n, gram.data.map((value) => rint(clip(value / noise, 1e3) * 4096)));
    const square = product(share, share), one = identity(n).data;
    const rest = inverted(matrix(n, n, square.data.map((value, k) => value / 2 ** 24 + one[k])));
    return matrix(n, n, rest.data.map((value, k) => one[k] - value));
  }

  /* Signed surprises of one tensor, and what their factors expect of the next stage. */
  live.Factors = class {
    constructor(context) {
      const { rows, width, stages, blocks, places } = context.layout;
      this.context = context;
      this.rank = Math.min(RANK, Math.min(rows, width) >> 1);
      const large = Math.max(rows, width) > 1 << 14; // where Python has double precision
      this.bits = large ? 48 : 20;
      this.round = large ? (value) => value : Math.fround;
      this.surprise = matrix(blocks * stages, places * stages);
      this.squares = 0;
      this.right = matrix(places * stages, this.rank);
      for (let place = 0; place < places * stages; place++) {
        for (let k = 0; k < this.rank; k++) {
          const spread = (place + 1) * (2 * k + 1) * 40503;
          this.right.data[place * this.rank + k] = (Math.floor(spread / 8192) % 2) * 2 - 1;
        }
      }
    }

    /* Take in the bits of a stage and the index that each was expected by. */
    update(stage, off, index) {
      const { layout, codes } = this.context;
      layout.each(stage, (at, row, across) => {
        const near = Math.min(Math.max(index[at], -128), 127);
        const value = (off[row * layout.width + across] ? ONE : 0) - EXPECTED[near + 128];
        this.squares += value * value;
        this.surprise.data[row * this.surprise.columns + across] = codes[stage][at] >= 256 ? -value : value;
      });
    }

    /* UNIT times the surprise that is expected of each place of a stage. */
    pull(stage) {
      const { layout, codes } = this.context, { stages } = layout;
      const found = new Int16Array(codes[stage].length);
      if (this.rank === 0 || this.squares === 0) return found;
      const { left, right, scale } = this.split((stages === 32 ? 2 : 1) + 2 * (stage === 1 ? 1 : 0));
      const round = this.round, unit = round((scale * UNIT * stages) / stage), rank = this.rank;
      layout.each(stage, (at, row, across) => {
        let sum = 0;
        for (let k = 0; k < rank; k++) {
          sum = round(sum + round(left.data[row * rank + k] * right.data[across * rank + k]));
        }
        const value = clip(rint(round(sum * unit)), LIMIT);
        found[at] = codes[stage][at] >= 256 ? -value : value;
      });
      return found;
    }

    /* Factors with whole entries, and what one unit of their product is worth in surprises of one bit. */
    split(rounds) {
      const small = (columns) => below(columns, this.bits - exponent(columns.rows));
      let left, image;
      for (let following = rounds - 1; following >= 0; following--) {
        image = product(this.surprise, this.right);
        left = following ? small(image) : orthonormal(image);
        image = crossed(this.surprise, left);
        this.right = small(image);
      }
      const shift = 2 ** (RIGHT - exponent(image.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0)));
      const right = matrix(image.rows, image.columns, image.data.map((value) => rint(value * shift)));
      const { rows, width } = this.context.layout, size = Math.sqrt(rows) + Math.sqrt(width);
      const noise = (this.squares / (rows * width)) * (size * size);
      const kept = signal(crossed(right, right), NOISE * noise * (shift * 2 ** NORM) ** 2);
      kept.data = kept.data.map((value) => rint(value * 4096));
      const weighed = product(right, kept);
      weighed.data = weighed.data.map((value) => this.round(rint(value / 4096)));
      return { left, right: weighed, scale: 1 / (shift * 4 ** NORM * ONE) };
    }
  };
})((globalThis.live ??= {}));

/* The range coder of mask files (constriction's queue coder), reading: 64 bits of state, probabilities of 24 bits.
   The twin in Python is the package constriction with submasking/tasks/shares.py. */
"use strict";
(function (live) {
  const HALF = 2 ** 32;

  /* Of each one-byte code the share of the state, in 2 ** -24, that a zero takes. */
  live.ZEROS = Float64Array.from({ length: 256 }, (_, code) => {
    const small = code & 0x7f;
    const q = ((8 + (small & 7)) * 2 ** (small >> 3)) / 2 ** 20;
    const p = code & 0x80 ? 1 - q : q;
    return Math.floor((1 - p) * (2 ** 24 - 2)) + 1;
  });

  /* Reads bits from little-endian words: Uint8Array of 4 bytes each. */
  live.RangeDecoder = class {
    constructor(bytes) {
      if (bytes.length % 4) throw new Error(`coded bits come in words of 4 bytes, got ${bytes.length} bytes`);
      this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      this.at = 0;
      // the point within the range, and the range: high and low 32 bits each
      this.pointHigh = this.word();
      this.pointLow = this.word();
      this.rangeHigh = this.rangeLow = HALF - 1;
    }

    word() {
      if (this.at >= this.view.byteLength) return 0;
      this.at += 4;
      return this.view.getUint32(this.at - 4, true);
    }

    /* The next bit, a zero taking `zeros` of 2 ** 24. */
    bit(zeros) {
      // scale = range >> 24 has 40 bits; its product with `zeros` 64, taken in two parts that doubles hold exactly.
      // x >>> 0 is the remainder by 2 ** 32, far faster than %
      const scale = this.rangeHigh * 256 + (this.rangeLow >>> 24);
      const upper = Math.floor(scale / 65536) * zeros;
      const low = (upper & 65535) * 65536 + (scale & 65535) * zeros;
      const splitLow = low >>> 0;
      const splitHigh = Math.floor(upper / 65536) + Math.floor(low / HALF);
      const one = this.pointHigh > splitHigh || (this.pointHigh === splitHigh && this.pointLow >= splitLow);
      if (one) {
        this.pointHigh -= splitHigh + (this.pointLow < splitLow ? 1 : 0);
        this.pointLow = (this.pointLow - splitLow) >>> 0;
        const wholeLow = (scale & 255) * 2 ** 24; // of scale * 2 ** 24, of which the split leaves the rest
        this.rangeHigh = Math.floor(scale / 256) - splitHigh - (wholeLow < splitLow ? 1 : 0);
        this.rangeLow = (wholeLow - splitLow) >>> 0;
      } else {
        this.rangeHigh = splitHigh;
        this.rangeLow = splitLow;
      }
      if (this.rangeHigh === 0) {
        this.rangeHigh = this.rangeLow;
        this.rangeLow = 0;
        this.pointHigh = this.pointLow;
        this.pointLow = this.word();
      }
      return one ? 1 : 0;
    }
  };
})((globalThis.live ??= {}));

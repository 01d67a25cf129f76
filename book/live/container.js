/* The container of a mask file and the numbers in it, bit for bit.
   The twins in Python are submasking/tasks/container.py, packing.py and floats.py. */
"use strict";
(function (live) {
  const EXPONENT = 8, MANTISSA = 23, MODELLED = 2; // of float32

  async function inflate(bytes) {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  /* Bytes of a file -> { version, description, header, parts }: the parts as bytes, the header as safetensors has it. */
  live.open = async function (bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const size = Number(view.getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + size)));
    const version = header.__metadata__?.submasking;
    if (version !== "1" && version !== "2") throw new Error(`a file must have format 1 or 2, it has ${version}`);
    delete header.__metadata__;
    const parts = {};
    for (const [name, { data_offsets: [start, end] }] of Object.entries(header)) {
      parts[name] = bytes.slice(8 + size + start, 8 + size + end);
    }
    const description = JSON.parse(new TextDecoder().decode(await inflate(parts.description)));
    return { version, description, header, parts };
  };

  /* What a task sets beside its mask -> { state, head }, each { name: { shape, values } }. */
  live.beside = async function ({ version, description, header, parts }) {
    if (version === "2") {
      return {
        state: await live.unpacked(description.state, parts.state),
        head: await live.unpacked(description.head.tensors, parts.head),
      };
    }
    // in the first format numbers stand as they are: all of a type in one vector, in the order of the list
    const state = {}, head = {}, used = {};
    for (const [name, type, ...shape] of description.state) {
      const first = used[type] ?? 0;
      used[type] = first + length(shape);
      state[name] = { shape, values: new (kind(type))(parts[`state.${type}`].buffer).subarray(first, used[type]) };
    }
    for (const name of Object.keys(header).filter((name) => name.startsWith("head."))) {
      head[name.slice(5)] = { shape: header[name].shape, values: new Float32Array(parts[name].buffer) };
    }
    return { state, head };
  };

  const length = (shape) => shape.reduce((a, b) => a * b, 1);

  function kind(type) {
    const found = { float32: Float32Array, int64: BigInt64Array, uint8: Uint8Array }[type];
    if (!found) throw new Error(`numbers of type ${type} are not read here`);
    return found;
  }

  /* What `packing.packed` made of the tensors that `listed` names -> { name: { shape, values } }. */
  live.unpacked = async function (listed, bytes) {
    const groups = new Map();
    for (const [name, type, ...shape] of listed) {
      const key = `${name.slice(name.lastIndexOf(".") + 1)}\0${type}`;
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push({ name, type, shape, size: length(shape) });
    }
    const read = {};
    let at = 0;
    for (const key of [...groups.keys()].sort()) {
      const group = groups.get(key);
      const view = new DataView(bytes.buffer, bytes.byteOffset + at, 5);
      const mode = view.getUint8(0), length = view.getUint32(1, true);
      const count = group.reduce((sum, each) => sum + each.size, 0);
      const values = await numbers(mode, bytes.subarray(at + 5, at + 5 + length), count, group[0].type);
      at += 5 + length;
      let first = 0;
      for (const { name, shape, size } of group) {
        read[name] = { shape, values: values.subarray(first, first + size) };
        first += size;
      }
    }
    return read;
  };

  async function numbers(mode, content, count, type) {
    if (mode === 1 && type === "float32") return floats(content, count);
    if (mode !== 0) throw new Error(`numbers of type ${type} are not coded in a way ${mode}`);
    return new (kind(type))((await inflate(content)).buffer, 0, count);
  }

  /* Float32 numbers, position of a bit by position: exponent, sign, mantissa. */
  function floats(data, count) {
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    const kept = view.getUint8(0), step = view.getInt16(1, true);
    const table = view.getUint16(3, true), end = 9 + table + 4 * view.getUint32(5, true);
    const source = { codes: data.subarray(9, 9 + table), coder: new live.RangeDecoder(data.subarray(9 + table, end)) };
    const fields = new Uint32Array(count), words = new Uint32Array(count), needed = new Uint8Array(count).fill(1);
    for (let level = 0; level < EXPONENT; level++) {
      modelled(source, needed, 0, fields, 1 << level, (k, bit) => (fields[k] = 2 * fields[k] + bit));
    }
    modelled(source, needed, 0, new Uint32Array(count), 1, (k, bit) => (words[k] = bit << 31));
    for (let k = 0; k < count; k++) needed[k] = Math.min(Math.max(fields[k] - step, 0), kept);
    const nodes = fields.slice();
    for (let level = 0; level < Math.min(kept, MODELLED); level++) {
      const before = nodes.slice(), position = MANTISSA - 1 - level;
      for (let k = 0; k < count; k++) nodes[k] *= 2;
      modelled(source, needed, level, before, 1 << (EXPONENT + level), (k, bit) => {
        nodes[k] += bit;
        words[k] |= bit << position;
      });
    }
    for (let level = MODELLED, plain = end; level < kept; level++) {
      const position = MANTISSA - 1 - level;
      let n = 0;
      for (let k = 0; k < count; k++) {
        if (needed[k] <= level) continue;
        words[k] |= ((data[plain + (n >> 3)] >> (7 - (n & 7))) & 1) << position;
        n++;
      }
      plain += Math.ceil(n / 8);
    }
    for (let k = 0; k < count; k++) words[k] |= fields[k] << MANTISSA;
    return new Float32Array(words.buffer);
  }

  /* Gives `put` the bit of each number that needs more than `level`, by the shares of the nodes that occur there. */
  function modelled(source, needed, level, nodes, size, put) {
    const used = new Uint8Array(size), zeros = new Float64Array(size);
    for (let k = 0; k < nodes.length; k++) if (needed[k] > level) used[nodes[k]] = 1;
    let next = 0;
    for (let node = 0; node < size; node++) if (used[node]) zeros[node] = live.ZEROS[source.codes[next++]];
    source.codes = source.codes.subarray(next);
    for (let k = 0; k < nodes.length; k++) if (needed[k] > level) put(k, source.coder.bit(zeros[nodes[k]]));
  }
})((globalThis.live ??= {}));

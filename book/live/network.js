/* The small ResNet of bottleneck blocks (resnet50-small of submasking/worlds/recipes.py), in eval mode, in single precision
   between layers. An image is { channels, side, data }, channel by channel. */
"use strict";
(function (live) {
  const EPSILON = 1e-5;

  /* Convolution without bias, padded so that a stride of 1 keeps the side. */
  function conv(image, { shape: [filters, channels, kernel], values }, stride = 1) {
    const { side, data } = image, margin = kernel >> 1, to = Math.floor((side - 1) / stride) + 1;
    const found = new Float32Array(filters * to * to);
    for (let filter = 0, at = 0; filter < filters; filter++) {
      for (let y = 0; y < to; y++) {
        for (let x = 0; x < to; x++) {
          let sum = 0;
          const top = y * stride - margin, left = x * stride - margin;
          for (let v = Math.max(0, -top); v < Math.min(kernel, side - top); v++) {
            for (let u = Math.max(0, -left); u < Math.min(kernel, side - left); u++) {
              let pixel = (top + v) * side + left + u, weight = (filter * channels * kernel + v) * kernel + u;
              for (let channel = 0; channel < channels; channel++) {
                sum += data[pixel] * values[weight];
                pixel += side * side;
                weight += kernel * kernel;
              }
            }
          }
          found[at++] = sum;
        }
      }
    }
    return { channels: filters, side: to, data: found };
  }

  /* Batch norm by its running statistics. */
  function norm(image, state, name) {
    const [weight, bias, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map(
      (part) => state[`${name}.${part}`].values);
    const size = image.side * image.side;
    const data = image.data.map((value, k) => {
      const channel = Math.floor(k / size);
      return ((value - mean[channel]) / Math.sqrt(variance[channel] + EPSILON)) * weight[channel] + bias[channel];
    });
    return { ...image, data };
  }

  const relu = (image) => ({ ...image, data: image.data.map((value) => Math.max(value, 0)) });

  /* The largest of 3 by 3, every second place. */
  function pooled({ channels, side, data }) {
    const to = Math.floor((side - 1) / 2) + 1, found = new Float32Array(channels * to * to).fill(-Infinity);
    for (let k = 0; k < found.length; k++) {
      const x = 2 * (k % to), y = 2 * (Math.floor(k / to) % to), first = Math.floor(k / (to * to)) * side * side;
      for (let v = Math.max(y - 1, 0); v < Math.min(y + 2, side); v++) {
        for (let u = Math.max(x - 1, 0); u < Math.min(x + 2, side); u++) {
          found[k] = Math.max(found[k], data[first + v * side + u]);
        }
      }
    }
    return { channels, side: to, data: found };
  }

  function block(image, state, name, stride) {
    const at = (part) => state[`${name}.${part}.weight`];
    let inner = relu(norm(conv(image, at("conv1")), state, `${name}.bn1`));
    inner = relu(norm(conv(inner, at("conv2"), stride), state, `${name}.bn2`));
    inner = norm(conv(inner, at("conv3")), state, `${name}.bn3`);
    const beside = norm(conv(image, at("downsample.0"), stride), state, `${name}.downsample.1`);
    return relu({ ...inner, data: inner.data.map((value, k) => value + beside.data[k]) });
  }

  /* Pixels (uint8, channel by channel) -> logits.
     `state` are tensors of the backbone with what the task has changed, `head` is its linear classifier, `preprocessing`
     says what an image is normalised by. */
  live.logits = function (pixels, state, head, { size, mean, std }) {
    const data = Float32Array.from(pixels, (value, k) => {
      const channel = Math.floor(k / (size * size));
      return (Math.fround(value / 255) - mean[channel]) / std[channel];
    });
    let image = conv({ channels: 3, side: size, data }, state["conv1.0.weight"], 2);
    image = conv(relu(norm(image, state, "conv1.1")), state["conv1.3.weight"]);
    image = conv(relu(norm(image, state, "conv1.4")), state["conv1.6.weight"]);
    image = pooled(relu(norm(image, state, "bn1")));
    for (let layer = 1; layer <= 4; layer++) image = block(image, state, `layer${layer}.0`, layer > 1 ? 2 : 1);
    const places = image.side * image.side, features = new Float32Array(image.channels);
    image.data.forEach((value, k) => (features[Math.floor(k / places)] += value / places));
    const [classes, width] = head.weight.shape;
    return Float32Array.from({ length: classes }, (_, k) =>
      features.reduce((sum, value, j) => sum + value * head.weight.values[k * width + j], head.bias.values[k]));
  };

  /* The backbone with a task laid on it: what the task has changed, and 0 where a weight is off. */
  live.masked = function (backbone, task, off) {
    const state = { ...backbone, ...task.state };
    for (const [name, bits] of Object.entries(off)) {
      const { shape, values } = backbone[name];
      state[name] = { shape, values: values.map((value, k) => (bits[k] ? 0 : value)) };
    }
    return state;
  };
})((globalThis.live ??= {}));

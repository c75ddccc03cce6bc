// The forward pass of a small network, layer by layer. A map is { data: Float32Array, c, h, w }: channels, rows, columns.
// Layers are as tools/digit.py stores them; weights come as whole numbers of 8 bits with a scale for each output.
function unpack({ weight, shape, kind, scale, ...rest }) {
  if (!weight) return { shape, kind, ...rest };
  const levels = Int8Array.from(atob(weight), letter => letter.charCodeAt(0));
  const size = kind === "linear" ? 1 : shape[2] * shape[3], inner = shape[1];
  const output = k => kind === "deconv" ? Math.floor(k / size) % inner : Math.floor(k / size / inner);
  return { shape, kind, ...rest, weight: Float32Array.from(levels, (level, k) => level * scale[output(k)]) };
}

const LAYERS = {
  // Each pixel of the output gathers from its neighbourhood: weights (outputs, inputs, 3, 3), one pixel of border.
  conv({ data, c, h, w }, { weight, bias, shape: [outputs], stride }) {
    const rows = Math.floor((h - 1) / stride) + 1, columns = Math.floor((w - 1) / stride) + 1;
    const out = new Float32Array(outputs * rows * columns);
    for (let o = 0, at = 0; o < outputs; o++)
      for (let y = 0; y < rows; y++)
        for (let x = 0; x < columns; x++, at++) {
          let sum = bias[o];
          for (let i = 0; i < c; i++)
            for (let k = 0; k < 9; k++) {
              const row = y * stride + Math.floor(k / 3) - 1, column = x * stride + k % 3 - 1;
              if (row >= 0 && row < h && column >= 0 && column < w)
                sum += weight[(o * c + i) * 9 + k] * data[(i * h + row) * w + column];
            }
          out[at] = sum;
        }
    return { data: out, c: outputs, h: rows, w: columns };
  },
  // Each pixel of the input spreads over its neighbourhood: weights (inputs, outputs, 3, 3).
  deconv({ data, c, h, w }, { weight, bias, shape: [, outputs], stride, extra }) {
    const rows = (h - 1) * stride + 1 + extra, columns = (w - 1) * stride + 1 + extra;
    const out = new Float32Array(outputs * rows * columns);
    for (let o = 0; o < outputs; o++) out.fill(bias[o], o * rows * columns, (o + 1) * rows * columns);
    for (let i = 0, at = 0; i < c; i++)
      for (let y = 0; y < h; y++)
        for (let x = 0; x < w; x++, at++)
          for (let k = 0; k < 9; k++) {
            const row = y * stride + Math.floor(k / 3) - 1, column = x * stride + k % 3 - 1;
            if (row >= 0 && row < rows && column >= 0 && column < columns)
              for (let o = 0; o < outputs; o++)
                out[(o * rows + row) * columns + column] += weight[(i * outputs + o) * 9 + k] * data[at];
          }
    return { data: out, c: outputs, h: rows, w: columns };
  },
  linear({ data }, { weight, bias, shape: [outputs, inputs] }) {
    const out = Float32Array.from({ length: outputs }, (_, o) => {
      let sum = bias[o];
      for (let i = 0; i < inputs; i++) sum += weight[o * inputs + i] * data[i];
      return sum;
    });
    return { data: out, c: outputs, h: 1, w: 1 };
  },
  pool({ data, c, h, w }) {
    const rows = h >> 1, columns = w >> 1;
    const out = Float32Array.from({ length: c * rows * columns }, (_, at) => {
      const x = at % columns, y = Math.floor(at / columns) % rows, i = Math.floor(at / columns / rows);
      const corner = (i * h + 2 * y) * w + 2 * x;
      return Math.max(data[corner], data[corner + 1], data[corner + w], data[corner + w + 1]);
    });
    return { data: out, c, h: rows, w: columns };
  },
  leaky: map => ({ ...map, data: map.data.map(value => value < 0 ? 0.2 * value : value) }),
  sigmoid: map => ({ ...map, data: map.data.map(value => 1 / (1 + Math.exp(-value))) }),
  reshape: ({ data }, { shape: [c, h, w] }) => ({ data, c, h, w }),
};

// The redrawing of 28 x 28 pixels in [0, 1] by a network: as many numbers.
function redraw(layers, pixels) {
  return layers.reduce((map, layer) => LAYERS[layer.kind](map, layer), { data: pixels, c: 1, h: 28, w: 28 }).data;
}

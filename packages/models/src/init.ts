import { float32, sizeOf, zeros, type Generator, type HostTensor, type ParameterSpec } from "@peftjs/core";

/** A fresh parameter as its spec says; a table's padding row is zero. */
export function initialise({ shape, init }: ParameterSpec, generator: Generator): HostTensor {
  if (init.kind !== "normal") {
    const tensor = zeros(shape);
    if (init.kind === "ones") tensor.data.fill(1);
    return tensor;
  }
  const data = generator.normal(sizeOf(shape), 0, init.std);
  if (init.zeroRow !== undefined) {
    const width = shape.at(-1) ?? 1;
    data.fill(0, init.zeroRow * width, (init.zeroRow + 1) * width);
  }
  return float32(data, shape);
}

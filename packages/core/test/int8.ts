import {
  float32,
  isInt8,
  PeftModel,
  quantize,
  widen,
  type BaseModel,
  type HostTensor,
  type InitContext,
  type Int8Tensor,
  type Method,
  type StoredTensor,
} from "../src/index.ts";
import { added, tinyModel } from "./tiny.ts";

export const QUERY = "body.layer.0.query.weight";
export const STORED_IN_OUT = "body.layer.1.query.weight";

/** The layers in eight bits, with factors of their inputs, and the same values as float32. `tables`: the embedding and what is tied to it, too. */
export function pair({ tables = false } = {}): { readonly int8: BaseModel; readonly wide: BaseModel } {
  const [int8, wide] = [tinyModel(), tinyModel()];
  const done = new Map<StoredTensor, Int8Tensor>();
  for (const { weight, kind, layout } of int8.sites) {
    if (weight.startsWith("classifier") || (kind === "embedding" && !tables)) continue;
    const own = int8.parameters.get(weight) as HostTensor;
    const axis = layout === "out_in" ? 0 : 1;
    const inputs = Float32Array.from({ length: own.shape[1 - axis] as number }, (_, j) => 0.3 + (j % 4));
    const factors = kind === "embedding" ? {} : { inputScales: inputs };
    done.set(own, quantize(own, { axis, backward: axis === 1 ? "float32" : "int8", ...factors }));
  }
  for (const [name, own] of int8.parameters) {
    const stored = done.get(own);
    if (stored === undefined) continue;
    int8.parameters.set(name, stored);
    wide.parameters.set(name, widen(stored));
  }
  if (tables) wide.parameters.set("decoder.weight", wide.parameters.get("body.embed.weight") as HostTensor);
  return { int8, wide };
}

/** Takes a third of every weight away, and adds it again. */
export const splitting: Method = {
  ...(added as unknown as Method),
  capabilities: { ...added.capabilities, quantizedBase: "values" },
  init: (context) => {
    const { data, shape } = context.weight;
    const weight = float32(
      (data as Float32Array).map((value) => value * Math.fround(2 / 3)),
      shape,
    );
    return { ...(added.init as NonNullable<Method["init"]>)(context as InitContext<never>), weight };
  },
};
export const erased = added as unknown as Method;

export async function both(method: Method, config: object = {}, options = {}): Promise<[PeftModel, PeftModel]> {
  const { int8, wide } = pair(options);
  const models = [int8, wide].map((base) => new PeftModel(base)) as [PeftModel, PeftModel];
  for (const model of models) await model.attach({ method, config });
  return models;
}

/** The largest error in scales of the channel that it stands in, times the factor of its input. */
export function errorInScales(stored: StoredTensor, exact: StoredTensor): number {
  if (!isInt8(stored)) throw new Error("The tensor is not in eight bits.");
  const { shape, axis, scales, inputScales } = stored;
  const columns = shape[1] as number;
  const [wide, target] = [widen(stored).data, widen(exact).data];
  return Math.max(
    ...Array.from(wide, (value, i) => {
      const [row, column] = [Math.floor(i / columns), i % columns];
      const [output, input] = axis === 0 ? [row, column] : [column, row];
      return Math.abs(value - (target[i] as number)) / ((scales[output] as number) * (inputScales?.[input] ?? 1));
    }),
  );
}

/** Scales, and values made with them, are rounded to float32. */
export const HALF = 0.5 + 1e-4;

import { inputScales, isInt8, narrow, PeftError, quantize, widen } from "@peftjs/core";
import type { BaseModel, HostTensor, NormValues, SiteNorm, StoredTensor } from "@peftjs/core";
import type { Held, HeldInt8 } from "./frozen.ts";

export interface HoldOptions {
  readonly name: string;
  readonly held: Held;
  /** Those that are there already, normalisations among them (`inOrder`). */
  readonly parameters: ReadonlyMap<string, StoredTensor>;
}

/** The values of a parameter as they are to be held. Throws `NOT_FINITE` for those that eight bits cannot hold. */
export function hold(tensor: StoredTensor, { name, held, parameters }: HoldOptions): StoredTensor {
  switch (held.type) {
    case "auto":
      return tensor;
    case "float32":
      return widen(tensor);
    case "int8":
      return quantized(widen(tensor), { name, held, parameters });
    default:
      return narrow(tensor, held.type);
  }
}

function quantized(
  tensor: HostTensor,
  { name, held: { axis, backward, norm }, parameters }: HoldOptions & { readonly held: HeldInt8 },
): StoredTensor {
  const values = norm === null ? null : normValues(norm, parameters);
  try {
    const factors = values === null ? {} : { inputScales: inputScales(tensor, { axis, norm: values }) };
    return quantize(tensor, { axis, backward, ...factors });
  } catch (error) {
    if (!(error instanceof PeftError)) throw error;
    throw new PeftError(error.code, `${name}: ${error.message}`, { cause: error });
  }
}

function normValues({ weight, bias }: SiteNorm, parameters: HoldOptions["parameters"]): NormValues {
  const dataOf = (name: string): HostTensor["data"] => {
    const tensor = parameters.get(name);
    if (tensor !== undefined) return widen(tensor).data;
    throw new PeftError(
      "ARCHITECTURE_INVALID",
      `The architecture says that a layer reads the normalisation with the parameter "${name}", which it does not list. Correct the site's \`norm\`.`,
    );
  };
  return { weight: dataOf(weight), bias: bias === null ? null : dataOf(bias) };
}

/** Bytes that a model's parameters take in memory, by their type; what is tied counts once. */
export function bytesByType({
  parameters,
}: Pick<BaseModel, "parameters">): Partial<Record<StoredTensor["dtype"], number>> {
  const bytes: Partial<Record<StoredTensor["dtype"], number>> = {};
  for (const tensor of new Set(parameters.values())) {
    const factors = isInt8(tensor) ? tensor.scales.byteLength + (tensor.inputScales?.byteLength ?? 0) : 0;
    bytes[tensor.dtype] = (bytes[tensor.dtype] ?? 0) + tensor.data.byteLength + factors;
  }
  return bytes;
}

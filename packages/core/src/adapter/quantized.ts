import { PeftError } from "../errors.ts";
import { isInt8 } from "../int8.ts";
import { quantizedBase, type Method } from "../method/method.ts";
import type { BaseModel } from "../model/model.ts";
import type { LayerSite } from "../model/site.ts";

/**
 * A method that cannot do with dequantized values is told so before it looks at data or weights.
 * @throws PeftError `QUANTIZED_UNSUPPORTED`.
 */
export function requireValues(
  { parameters }: BaseModel,
  method: Method,
  { config, sites }: { readonly config: object; readonly sites: readonly LayerSite[] },
): void {
  if (quantizedBase(method, config) !== false) return;
  const trained = [...parameters.keys()].filter((name) => method.trains?.({ name, targets: sites, config }));
  const names = [...new Set([...sites.map(({ weight }) => weight), ...trained])];
  const quantized = names.filter((name) => {
    const tensor = parameters.get(name);
    return tensor !== undefined && isInt8(tensor);
  });
  const [first] = quantized;
  if (first === undefined) return;
  const more = quantized.length === 1 ? "" : ` and ${quantized.length - 1} other${quantized.length === 2 ? "" : "s"}`;
  const exclude = [...new Set(quantized.map((name) => `"${name.split(".").at(-2) ?? name}"`))].join(", ");
  throw new PeftError(
    "QUANTIZED_UNSUPPORTED",
    `Method "${method.name}" needs the weights of its layers as they were before quantization, but the model holds "${first}"${more} ` +
      `in eight bits. Load the model with frozen: "float32", exclude these layers with frozen: { type: "int8", exclude: [${exclude}] }, ` +
      "or target others.",
  );
}

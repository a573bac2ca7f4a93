import { PeftError, zeros } from "@peftjs/core";
import type { HostTensor, Named, RefitContext } from "@peftjs/core";
import { loraScale, takesFromWeight } from "./config.ts";
import type { LoraConfig } from "./config.ts";

/**
 * Another adapter's A [r', in], B [out, r'] and β [out] as parameters of rank r ≥ r' and scale s: A and B padded with zeros to r,
 * B and β multiplied by s'/s, so that s·B·A and s·β are what they were. A layer that the other adapter leaves alone gets zeros.
 * What is neither A, B nor β stays as it is.
 * @throws PeftError `HOT_SWAP_UNSUPPORTED` when r' > r, or when the layers hold tensors of other names.
 */
export function refitLora({ site, params, from, to, shapes }: RefitContext<LoraConfig>): Named<HostTensor> {
  const factor = loraScale(from) / loraScale(to);
  if (takesFromWeight(to)) {
    throw refuse(
      `This adapter's start, "${String(to.initLoraWeights)}", changed the base weight of "${site.path}", to which the other adapter does not belong`,
      "Save it and load it as plain LoRA before swapping",
    );
  }
  const extra = Object.keys(params ?? {}).find((name) => shapes[name] === undefined);
  if (extra !== undefined)
    throw refuse(`The other adapter has "${extra}" at "${site.path}", this one has not`, "Attach it beside this one");
  const refitted = Object.entries(shapes).map(([name, shape]) => {
    const tensor = params?.[name];
    if (tensor === undefined) return [name, absent(site.path, { name, shape })] as const;
    if (!isFactor(name)) return [name, tensor] as const;
    const [have, room] = [rankOf(name, tensor.shape), rankOf(name, shape)];
    if (have > room)
      throw refuse(
        `The other adapter has rank ${have} at "${site.path}", this one has room for ${room}`,
        `Attach this adapter with a rank of at least ${have} and α scaled alike`,
      );
    return [name, fitted(tensor, shape, isDown(name) ? 1 : factor)] as const;
  });
  return Object.fromEntries(refitted);
}

const isDown = (name: string): boolean => name === "a" || name === "embeddingA";
const isFactor = (name: string): boolean => isDown(name) || name === "b" || name === "embeddingB" || name === "biasB";

/** A is [r, in], B [out, r]; a bias has no rank. */
function rankOf(name: string, shape: readonly number[]): number {
  return (isDown(name) ? shape[0] : shape[1]) ?? 0;
}

/** factor·tensor in the upper left of a tensor of `shape`; the rest is zero. */
function fitted(tensor: HostTensor, shape: readonly number[], factor: number): HostTensor {
  const result = zeros(shape);
  const [from, to] = [tensor.shape.at(-1) as number, shape.at(-1) as number];
  tensor.data.forEach((value, i) => {
    result.data[Math.floor(i / from) * to + (i % from)] = value * factor;
  });
  return result;
}

function absent(
  path: string,
  { name, shape }: { readonly name: string; readonly shape: readonly number[] },
): HostTensor {
  if (isFactor(name)) return zeros(shape);
  throw refuse(
    `The other adapter has no "${name}" at "${path}", and none that changes nothing is known`,
    "Attach it beside this one",
  );
}

function refuse(reason: string, remedy: string): PeftError {
  return new PeftError("HOT_SWAP_UNSUPPORTED", `${reason}. ${remedy}.`);
}

import { isInModules, isInt8, openSafetensors, PeftError } from "@peftjs/core";
import type { Adapter, BaseModel, HostTensor, PeftModel, TensorSource } from "@peftjs/core";
import type { RocoftConfig } from "../config.ts";
import { rocoft } from "../method.ts";
import { formOfOriginal, minus, originalLayers, type OriginalLayer } from "./originalLayers.ts";
import { unsupported } from "./unsupported.ts";

export interface OriginalOptions {
  /** The checkpoint: a safetensors file, or a folder with `model.safetensors`. */
  readonly file: string;
  /** Default "default". */
  readonly adapterName?: string;
}

/**
 * Attaches what a checkpoint of the original code learned. It holds the whole model; its layers have `trainable_weight` W[:r, :] or
 * W[:, :r] and `non_trainable_weight`, or for entries `weight.0`, and `bias`. D is what they hold less what the base model holds. Task
 * heads start at random, so they are taken as saved modules in full; so are norms, where one differs from the base model's.
 * @throws PeftError `ADAPTER_TENSORS` for a file without such layers; `INTERCHANGE_UNSUPPORTED` when what did not learn is not the base
 * model's: it is another one, or rows or columns were chosen by score, which the checkpoint does not name; `QUANTIZED_UNSUPPORTED` for a base
 * in eight bits.
 */
export async function importOriginal(
  model: PeftModel,
  { file, adapterName = "default" }: OriginalOptions,
): Promise<Adapter> {
  const { base } = model;
  requireExact(base);
  const source = await openSafetensors(file);
  try {
    const layers = await originalLayers(base, source);
    const inHead = ({ site }: OriginalLayer): boolean => isInModules(site.path, base.headModules);
    const adapted = layers.filter((layer) => !inHead(layer));
    if (adapted.length === 0) {
      throw new PeftError(
        "ADAPTER_TENSORS",
        `${file} is no checkpoint of the original code: no layer of "${base.name}" has a "trainable_weight" or a "weight.0" in it. ` +
          `Adapter folders are read by loadAdapter.`,
      );
    }
    const values = await parametersOf(base, source);
    for (const { site, weight } of layers.filter(inHead)) values.set(site.weight, weight);
    return await attachOriginal(model, { name: adapterName, adapted, values });
  } finally {
    await source.close();
  }
}

/** What learned is told from what did not by its difference from the base model, which rounding would drown. */
function requireExact({ name, parameters }: BaseModel): void {
  if (![...parameters.values()].some(isInt8)) return;
  throw new PeftError(
    "QUANTIZED_UNSUPPORTED",
    `A checkpoint of the original code is compared with the base model, and "${name}" holds weights in eight bits. Load the base with ` +
      'frozen: "float32", import, and save the adapter: its folder loads on either.',
  );
}

/** Base parameters that the checkpoint has under their own names. */
async function parametersOf(base: BaseModel, source: TensorSource): Promise<Map<string, HostTensor>> {
  const values = new Map<string, HostTensor>();
  for (const name of source.names) if (base.parameters.has(name)) values.set(name, await source.tensor(name));
  return values;
}

interface AttachOriginalOptions {
  readonly name: string;
  readonly adapted: readonly OriginalLayer[];
  readonly values: ReadonlyMap<string, HostTensor>;
}

async function attachOriginal(model: PeftModel, { name, adapted, values }: AttachOriginalOptions): Promise<Adapter> {
  const { base } = model;
  const biases = new Map<string, HostTensor>();
  for (const { site } of adapted) {
    const bias = values.get(site.bias ?? "");
    if (bias !== undefined) biases.set(site.path, minus(bias, base.parameters.get(site.bias as string)));
  }
  const form = formOfOriginal(base, adapted, biases);
  const ofLayers = new Set(adapted.map(({ site }) => site.bias));
  const moved = [...values].flatMap(([each, tensor]) => {
    const isMoved = !ofLayers.has(each) && minus(tensor, base.parameters.get(each)).data.some((value) => value !== 0);
    return isMoved ? [each] : [];
  });
  const [head, others] = [true, false].map((wanted) =>
    moved.filter((each) => isInModules(each, base.headModules) === wanted),
  ) as [string[], string[]];
  const adapter = await model.attach<RocoftConfig>({
    ...{ name, method: rocoft },
    config: {
      ...form.config,
      ...{
        targetModules: adapted.map(({ site }) => site.path),
        modulesToSave: head.length > 0 ? base.headModules : [],
      },
      norms: others.length > 0 ? "train" : "frozen",
    },
  });
  const lost = others.find((each) => !adapter.overrides.has(each));
  if (lost !== undefined) {
    model.detach(name);
    throw unsupported(
      `The checkpoint's "${lost}" is not that of "${base.name}", and RoCoFT does not train it. It was trained from another base model.`,
    );
  }
  for (const [path, tensors] of form.params) {
    for (const [short, tensor] of Object.entries(tensors))
      (short === "indices" ? adapter.buffers : adapter.params).set(`${path}.${short}`, tensor);
  }
  for (const [each, override] of adapter.overrides) {
    const tensor = values.get(each);
    if (tensor !== undefined) adapter.overrides.set(each, { ...override, tensor });
  }
  model.refresh();
  return adapter;
}

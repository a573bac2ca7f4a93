import * as tf from "@tensorflow/tfjs-core";
import { useCpuBackend } from "@peftjs/testkit";
import { z } from "zod";
import {
  createGenerator,
  defineMethod,
  float32,
  meanSquaredError,
  targetFields,
  tokenFields,
  widen,
} from "../src/index.ts";
import type { BaseModel, HostTensor, LayerSite, Method, PeftModel, StoredTensor } from "../src/index.ts";

const site = (path: string, role: string, block: number | null, sizes: readonly [number, number]): LayerSite => ({
  ...{ path, role, block, kind: "linear", inFeatures: sizes[0], outFeatures: sizes[1], layout: "out_in" },
  ...{ weight: `${path}.weight`, bias: `${path}.bias` },
});

/** Embedding [5, 4] → two blocks of 4 → 4 (the second stored as [in, out]) → classifier 4 → 2; one table is tied to the embedding. */
export function tinyModel(
  seed = 7,
  { dropout = 0, readsTied = true }: { readonly dropout?: number; readonly readsTied?: boolean } = {},
): BaseModel {
  const generator = createGenerator(seed);
  const random = (shape: readonly [number] | readonly [number, number]): HostTensor =>
    float32(
      generator.uniform(
        shape.reduce((a, b) => a * b, 1),
        -1,
        1,
      ),
      shape,
    );
  const sites: LayerSite[] = [
    { ...site("body.embed", "embedding", null, [5, 4]), kind: "embedding", layout: "in_out", bias: null },
    site("body.layer.0.query", "query", 0, [4, 4]),
    { ...site("body.layer.1.query", "query", 1, [4, 4]), layout: "in_out" },
    site("body.layer.1.value", "value", 1, [4, 4]),
    site("classifier", "classifier", null, [4, 2]),
  ];
  const parameters = new Map<string, StoredTensor>();
  for (const { weight, bias, kind, layout, inFeatures, outFeatures } of sites) {
    parameters.set(
      weight,
      random(kind === "embedding" || layout === "in_out" ? [inFeatures, outFeatures] : [outFeatures, inFeatures]),
    );
    if (bias !== null) parameters.set(bias, random([outFeatures]));
  }
  parameters.set("decoder.weight", parameters.get("body.embed.weight") as HostTensor);
  return {
    name: "tiny",
    configJson: { model_type: "tiny", architectures: ["TinyForSequenceClassification"] },
    modelType: "tiny",
    head: { kind: "sequenceClassification", labels: ["no", "yes"] },
    parameters,
    sites,
    defaultTargets: ["query"],
    headModules: ["classifier"],
    forward(f, batch) {
      let x = f.embedding("body.embed", batch["input_ids"] as tf.Tensor);
      x = tf.tanh(f.linear("body.layer.0.query", x));
      x = f.dropout(tf.add(f.linear("body.layer.1.query", x), f.linear("body.layer.1.value", x)), dropout);
      const logits = f.linear("classifier", tf.mean(x, 1));
      return { logits: readsTied ? tf.add(logits, tf.mean(f.parameter("decoder.weight"))) : logits };
    },
    loss: (outputs, batch) =>
      meanSquaredError(
        tf.reshape(outputs["logits"] as tf.Tensor, [-1]) as tf.Tensor1D,
        tf.reshape(batch["labels"] as tf.Tensor, [-1]) as tf.Tensor1D,
      ),
  };
}

export const AddedConfig = z.strictObject({
  ...targetFields,
  rank: z.int().positive().default(2).describe("Rank."),
  dropout: z.number().default(0),
  ...tokenFields,
});
export type AddedConfig = z.infer<typeof AddedConfig>;

/** y = base(x) + x·Aᵀ·Bᵀ, A [r, in] uniform, B [out, r] zero. */
export const added: Method<AddedConfig> = defineMethod<AddedConfig>({
  name: "added",
  description: "A low-rank addition.",
  package: "@peftjs/core",
  config: AddedConfig,
  wire: {
    peftType: "ADDED",
    config: {
      ...{
        targetModules: "target_modules",
        excludeModules: "exclude_modules",
        layersToTransform: "layers_to_transform",
      },
      ...{ modulesToSave: "modules_to_save", rank: "r", dropout: "added_dropout" },
      trainableTokenIndices: "trainable_token_indices",
    },
    tensors: { a: "added_A.weight", b: "added_B.weight" },
    constants: { added_kind: "plain" },
    whenSet: ["trainable_token_indices"],
  },
  capabilities: { merge: true, multiAdapter: true, identityAtStart: true },
  targets: (config) => config,
  init: ({ site, config, generator }) => ({
    params: {
      a: float32(generator.uniform(config.rank * site.inFeatures, -1, 1), [config.rank, site.inFeatures]),
      b: float32(new Float32Array(site.outFeatures * config.rank), [site.outFeatures, config.rank]),
    },
  }),
  forward: ({ params, config, x, base, dropout }) => {
    const low = tf.matMul(dropout(x, config.dropout), params["a"] as tf.Tensor2D, false, true);
    return tf.add(base(x), tf.matMul(low, params["b"] as tf.Tensor2D, false, true));
  },
  delta: ({ site, params }) => {
    const product: tf.Tensor2D = tf.matMul(params["b"] as tf.Tensor2D, params["a"] as tf.Tensor2D);
    return { weight: site.layout === "out_in" ? product : (tf.transpose(product) as tf.Tensor2D) };
  },
});

/** The pieces of a toy method that do not depend on what it computes. */
const toy = {
  description: "A toy.",
  package: "@peftjs/core",
  config: z.strictObject({ ...targetFields, ...tokenFields }),
  capabilities: { merge: true, multiAdapter: true, identityAtStart: true },
} as const;
type ToyConfig = z.infer<typeof toy.config>;
const toyWire = {
  targetModules: "target_modules",
  modulesToSave: "modules_to_save",
  trainableTokenIndices: "trainable_token_indices",
} as const;

/** l [out] as a factor of the weight as it is stored. */
function perOutput(site: LayerSite, l: tf.Tensor1D): tf.Tensor {
  return site.layout === "out_in" ? tf.reshape(l, [-1, 1]) : l;
}

/** y = base(x) ⊙ l, l [out]. Works on whatever lies below. */
export const multiplied: Method<ToyConfig> = defineMethod<ToyConfig>({
  ...toy,
  name: "multiplied",
  wire: { peftType: "MULTIPLIED", config: toyWire, tensors: { l: "l" } },
  targets: (config) => config,
  init: ({ site }) => ({ params: { l: float32(new Float32Array(site.outFeatures).fill(1), [site.outFeatures]) } }),
  forward: ({ params, base, x }) => tf.mul(base(x), params["l"] as tf.Tensor1D),
  delta: ({ site, params, below }) => {
    const change = tf.sub(params["l"] as tf.Tensor1D, 1) as tf.Tensor1D;
    const weight: tf.Tensor2D = tf.mul(below.weight, perOutput(site, change));
    return below.bias === null ? { weight } : { weight, bias: tf.mul(below.bias, change) };
  },
});

/** y = base(x) + x·(g ⊙ W/‖W‖)ᵀ, g [out]: measures the layer's own weight W. */
export const measured: Method<ToyConfig> = defineMethod<ToyConfig>({
  ...toy,
  name: "measured",
  wire: { peftType: "MEASURED", config: toyWire, tensors: { g: "g" } },
  targets: (config) => config,
  init: ({ site }) => ({ params: { g: float32(new Float32Array(site.outFeatures), [site.outFeatures]) } }),
  forward: ({ site, params, base, x, weight }) =>
    tf.add(base(x), tf.matMul(x, direction(site, weight, params["g"] as tf.Tensor1D), false, site.layout === "out_in")),
  delta: ({ site, params, weight }) => ({ weight: direction(site, weight, params["g"] as tf.Tensor1D) }),
});

function direction(site: LayerSite, weight: tf.Tensor2D, g: tf.Tensor1D): tf.Tensor2D {
  return tf.mul(tf.div(weight, tf.norm(weight)), perOutput(site, g));
}

/** Trains every parameter of the model. */
export function trainsAll({ multiAdapter = false } = {}): Method {
  const { name, description, package: pkg, wire, config } = added;
  return defineMethod({
    ...{
      name,
      description,
      package: pkg,
      wire,
      config,
      capabilities: { merge: true, multiAdapter, identityAtStart: true },
    },
    targets: () => null,
    trains: () => true,
  }) as unknown as Method;
}

useCpuBackend();

export const BATCH = {
  input_ids: tf.tensor2d(
    [
      [0, 1, 2],
      [4, 3, 3],
    ],
    [2, 3],
    "int32",
  ),
  labels: tf.tensor2d([
    [1, 0],
    [-1, 0.5],
  ]),
};

/** Host values as tensors. */
export function tensors(named: Readonly<Record<string, StoredTensor>>): Record<string, tf.Tensor> {
  return Object.fromEntries(
    Object.entries(named).map(([name, stored]) => {
      const { data, shape, dtype } = widen(stored);
      return [name, tf.tensor(data, [...shape], dtype)];
    }),
  );
}

/** Gives every trainable value random numbers. */
export function fill(model: PeftModel, seed: number): void {
  const generator = createGenerator(seed);
  const values = Object.entries(model.trainable()).map(([key, { data, shape }]) => [
    key,
    float32(generator.normal(data.length), shape),
  ]);
  model.setTrainable(Object.fromEntries(values) as Record<string, HostTensor>);
}

export function logits(model: PeftModel): Float32Array {
  return tf.tidy(() => {
    const outputs = model.forward({ frozen: tensors(model.frozen()), trainable: tensors(model.trainable()) }, BATCH, {
      training: false,
    });
    return outputs["logits"]?.dataSync().slice() as Float32Array;
  });
}

import { createGenerator, crossEntropy, float32, int32 } from "@peftjs/core";
import type { BaseModel, Generator, HostTensor, LayerSite } from "@peftjs/core";
import type { TrainingPlan } from "@peftjs/train";
import * as tf from "@tensorflow/tfjs-core";

const BITS = 3;
const CLASSES = 2;
const ROWS = 2 ** BITS;

/** A perceptron with one hidden layer, logits = W₂·relu(W₁·x + b₁) + b₂, uniform on ±1/√in at the start, as torch's linear layers. */
export function parityModel({ width, seed }: { readonly width: number; readonly seed: number }): BaseModel {
  const generator = createGenerator(seed);
  const sites = [linear("hidden", BITS, width), linear("output", width, CLASSES)];
  return {
    name: "parity",
    configJson: {},
    modelType: "perceptron",
    head: { kind: "sequenceClassification", labels: ["even", "odd"] },
    parameters: new Map(sites.flatMap((site) => initial(site, generator))),
    sites,
    defaultTargets: ["hidden", "output"],
    headModules: [],
    forward: (f, { bits }) => ({ logits: f.linear("output", tf.relu(f.linear("hidden", bits as tf.Tensor))) }),
    loss: ({ logits }, { labels }) => crossEntropy(logits as tf.Tensor2D, labels as tf.Tensor1D),
  };
}

function linear(path: string, inFeatures: number, outFeatures: number): LayerSite {
  return {
    ...{ path, kind: "linear", role: path, block: null, inFeatures, outFeatures },
    ...{ layout: "out_in", weight: `${path}.weight`, bias: `${path}.bias` },
  };
}

function initial({ weight, path, inFeatures, outFeatures }: LayerSite, generator: Generator): [string, HostTensor][] {
  const bound = 1 / Math.sqrt(inFeatures);
  const drawn = (shape: number[]): HostTensor =>
    float32(
      generator.uniform(
        shape.reduce((a, b) => a * b),
        -bound,
        bound,
      ),
      shape,
    );
  return [
    [weight, drawn([outFeatures, inFeatures])],
    [`${path}.bias`, drawn([outFeatures])],
  ];
}

/** All eight inputs, or those numbered; the label is the parity of the bits. */
export function parityRows(numbers: readonly number[] = Array.from({ length: ROWS }, (_, i) => i)): {
  readonly bits: HostTensor;
  readonly labels: HostTensor;
} {
  const bitsOf = (row: number): number[] => Array.from({ length: BITS }, (_, bit) => (row >> bit) & 1);
  const parity = (row: number): number => bitsOf(row).reduce((a, b) => a ^ b);
  return {
    bits: float32(Float32Array.from(numbers.flatMap(bitsOf)), [numbers.length, BITS]),
    labels: int32(Int32Array.from(numbers, parity), [numbers.length]),
  };
}

/** Batches of inputs drawn with equal chance. */
export function parityPlan({ batchSize, seed }: { readonly batchSize: number; readonly seed: number }): TrainingPlan {
  return {
    batchesPerEpoch: 1,
    batchAt: (index) => {
      const generator = createGenerator(seed * 1_000_003 + index);
      return parityRows(Array.from({ length: batchSize }, () => generator.next32() % ROWS));
    },
  };
}

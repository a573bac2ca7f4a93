import type * as tf from "@tensorflow/tfjs-core";
import type { Calibration, LayerValues } from "../method/contexts.ts";
import type { Method } from "../method/method.ts";
import type { BaseModel } from "../model/model.ts";
import type { LayerSite } from "../model/site.ts";
import type { Generator } from "../random.ts";
import { hostRunner, type TensorRunner } from "../runner.ts";
import type { HostTensor, Named } from "../tensors.ts";
import type { Warn } from "../warnings.ts";
import { bareProgram, type BareRun } from "./bareProgram.ts";
import { createGradientProbe } from "./gradientProbe.ts";

/** What methods that look at data before they start are given. */
export interface CalibrationData {
  /** Batches of the kind the adapter will be trained on. Iterated as often as the method likes. */
  readonly batches?: Iterable<Named<HostTensor>> | undefined;
  /** Runs the base model on them. Default: the active tfjs backend, which is slow for more than tiny models. */
  readonly runner?: TensorRunner | undefined;
}

export interface CalibrateOptions {
  readonly method: Method;
  readonly config: object;
  readonly sites: readonly LayerSite[];
  readonly generator: Generator;
  readonly warn: Warn;
  readonly data?: CalibrationData | undefined;
}

/** Lets a method look at weights and data. Programs that it needs live as long as the call. */
export async function calibrate(
  base: BaseModel,
  { method, config, sites, generator, warn, data = {} }: CalibrateOptions,
): Promise<Calibration<object>> {
  if (method.calibrate === undefined) return {};
  const runner = data.runner ?? hostRunner;
  const inputs = createProbe(base, { sites, runner, side: "input" });
  const outputs = createProbe(base, { sites, runner, side: "output" });
  const backward = createGradientProbe(base, sites, runner);
  try {
    return await method.calibrate({
      ...{ model: base, sites, config, generator, warn },
      batches: data.batches ?? null,
      layerInputs: (batch) => inputs.values(batch),
      layerOutputs: (batch) => outputs.values(batch),
      gradients: (batch, options) => backward.gradients(batch, options),
    });
  } finally {
    for (const probe of [inputs, outputs, backward]) await probe.dispose();
  }
}

interface Probe {
  values(batch: Named<HostTensor>): Promise<LayerValues>;
  dispose(): Promise<void>;
}

interface ProbeOptions {
  readonly sites: readonly LayerSite[];
  readonly runner: TensorRunner;
  /** What goes into the layers, or what comes out of them. */
  readonly side: "input" | "output";
}

/** One side of the base model's layers, each distinct tensor once. */
function createProbe(base: BaseModel, { sites, runner, side }: ProbeOptions): Probe {
  const wanted = new Set(sites.map(({ path }) => path));
  /** Path of a layer → path of the first layer with the same tensor. Found out when the model is traced. */
  const sources = new Map<string, string>();
  const find = ({ forward }: BareRun): Named<tf.Tensor> => {
    const firstOf = new Map<number, string>();
    const found: Record<string, tf.Tensor> = {};
    forward(({ path, x, source, y }) => {
      if (!wanted.has(path)) return;
      const { id } = side === "input" ? source : y;
      const first = firstOf.get(id) ?? path;
      firstOf.set(id, first);
      sources.set(path, first);
      found[first] ??= side === "input" ? x : y;
    });
    return found;
  };
  const program = bareProgram(base, { runner, find });
  return {
    values: async (batch) => {
      const found = await program.run(batch);
      return new Map([...sources].map(([path, source]) => [path, found[source] as HostTensor]));
    },
    dispose: () => program.dispose(),
  };
}

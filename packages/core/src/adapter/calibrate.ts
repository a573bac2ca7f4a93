import type { Calibration, LayerInputs } from "../method/contexts.ts";
import type { Method } from "../method/method.ts";
import { LayeredForward } from "../model/layeredForward.ts";
import type { BaseModel } from "../model/model.ts";
import type { LayerSite } from "../model/site.ts";
import type { Generator } from "../random.ts";
import { hostRunner, type TensorRunner } from "../runner.ts";
import type { HostTensor, Named } from "../tensors.ts";
import type { Warn } from "../warnings.ts";
import { createGradientProbe } from "./gradientProbe.ts";
import { bareView } from "./view.ts";

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
  const probe = createProbe(base, sites, runner);
  const backward = createGradientProbe(base, sites, runner);
  try {
    return await method.calibrate({
      ...{ model: base, sites, config, generator, warn },
      batches: data.batches ?? null,
      layerInputs: (batch) => probe.layerInputs(batch),
      gradients: (batch, options) => backward.gradients(batch, options),
    });
  } finally {
    await probe.dispose();
    await backward.dispose();
  }
}

interface Probe {
  layerInputs(batch: Named<HostTensor>): Promise<LayerInputs>;
  dispose(): void | Promise<void>;
}

/** One compiled program that runs the base model and returns what goes into its layers, each distinct input once. */
function createProbe(base: BaseModel, sites: readonly LayerSite[], runner: TensorRunner): Probe {
  const view = bareView(base);
  const byPath = new Map(base.sites.map((site) => [site.path, site]));
  const wanted = new Set(sites.map(({ path }) => path));
  /** Path of a layer → path of the first layer with the same input. Found out when the model is traced. */
  const sources = new Map<string, string>();
  const program = runner.compile(
    ({ frozen = {}, batch = {} }) => {
      const inputs = new Map<number, string>();
      const found: Record<string, (typeof batch)[string]> = {};
      base.forward(
        new LayeredForward({
          ...{ sites: byPath, view, tensors: [frozen], training: false },
          observe: (path, x, { id }) => {
            if (!wanted.has(path)) return;
            const source = inputs.get(id) ?? path;
            inputs.set(id, source);
            sources.set(path, source);
            found[source] ??= x;
          },
        }),
        batch,
      );
      return { inputs: found };
    },
    { constant: ["frozen"] },
  );
  return {
    layerInputs: async (batch) => {
      const { inputs = {} } = await program.run({ frozen: view.frozen, batch });
      return new Map([...sources].map(([path, source]) => [path, inputs[source] as HostTensor]));
    },
    dispose: () => program.dispose(),
  };
}

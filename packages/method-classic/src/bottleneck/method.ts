import { defineMethod, float32, isBias, kaimingUniform, PeftError, zeros } from "@peftjs/core";
import type {
  FileContext,
  FileForm,
  ForwardContext,
  HostTensor,
  InitContext,
  LayerSite,
  Method,
  Named,
  SiteContext,
  TargetConfig,
} from "@peftjs/core";
import type * as tf from "@tensorflow/tfjs-core";
import type { BottleneckConfig } from "./config.ts";
import { ParallelConfig, parallelWire, SeriesConfig, seriesWire } from "./config.ts";
import { adaptedLayer, bottleneck } from "./layer.ts";
import type { Placement } from "./layer.ts";
import { parallelTargets, seriesPlacement, seriesTargets } from "./placement.ts";

/**
 * Series adapters (Houlsby et al. 2019, without biases; Hu et al. 2023, eq. 2): a small network f(x) = act(drop(x)·Dᵀ)·Uᵀ is put in
 * front of a layer, y = W(x + c·f(x)), or behind it, y = W(x) + c·f(W(x)). U starts at zero.
 * Several adapters are nested: the one activated last is outermost, and the layer within its own is what it takes for W.
 */
export const series: Method<SeriesConfig> = defineBottleneck<SeriesConfig>({
  ...{ name: "series", config: SeriesConfig, wire: seriesWire },
  description: "Series adapters: a bottleneck network before or after chosen layers.",
  defaultTargets: seriesTargets,
  placement: seriesPlacement,
});

/**
 * Parallel adapters (He et al. 2022, table 1; Hu et al. 2023, eq. 3): a small network beside a layer, y = W(x) + c·f(x) with
 * f(x) = act(drop(x)·Dᵀ)·Uᵀ. U starts at zero. Several adapters add up, in any order.
 */
export const parallel: Method<ParallelConfig> = defineBottleneck<ParallelConfig>({
  ...{ name: "parallel", config: ParallelConfig, wire: parallelWire },
  description: "Parallel adapters: a bottleneck network beside chosen layers.",
  defaultTargets: (_, modelType) => parallelTargets(modelType),
  placement: () => "parallel",
});

interface Variant<Config> extends Pick<Method<Config & object>, "name" | "description" | "config" | "wire"> {
  defaultTargets(config: Config, modelType: string): Partial<TargetConfig>;
  placement(context: SiteContext<Config>): Placement;
}

function defineBottleneck<Config extends BottleneckConfig>(variant: Variant<Config>): Method<Config> {
  const { defaultTargets, placement, ...described } = variant;
  return defineMethod<Config>({
    ...described,
    package: "@peftjs/method-classic",
    capabilities: { merge: false, multiAdapter: true, identityAtStart: true },
    resolve: (config, { modelType }) =>
      config.targetModules === null && config.targetRoles === null
        ? { ...config, ...defaultTargets(config, modelType) }
        : config,
    targets: (config) => config,
    init: (context) => ({ params: start(context, placement(context)) }),
    forward: (context) => forward(context, placement(context)),
    trains: ({ name, targets, config }) => trainsBias(config.bias, name, targets),
    file,
  });
}

/** D and U, drawn in this order, and what else learns in a layer. */
function start({ site, config, generator }: InitContext<BottleneckConfig>, placement: Placement): Named<HostTensor> {
  if (site.kind !== "linear") {
    throw new PeftError(
      "CONFIG_INVALID",
      `Bottleneck adapters sit on linear layers, and "${site.path}" is an embedding. Take it out of targetModules, or name it in excludeModules.`,
    );
  }
  const size = config.bottleneckSize;
  const from = placement === "after" ? site.outFeatures : site.inFeatures;
  const to = placement === "before" ? site.inFeatures : site.outFeatures;
  const normal = (rows: number, columns: number): HostTensor =>
    float32(generator.normal(rows * columns, 0, 0.02), [rows, columns]);
  return {
    ...(config.initWeights === "bert"
      ? { down: normal(size, from), up: normal(to, size) }
      : { down: kaimingUniform([size, from], generator), up: zeros([to, size]) }),
    ...(config.bottleneckBias ? { downBias: zeros([size]), upBias: zeros([to]) } : {}),
    ...(config.scaling === "learned" ? { scale: float32([1], [1]) } : {}),
  };
}

function forward(context: ForwardContext<BottleneckConfig>, placement: Placement): tf.Tensor2D {
  const { config, params, x, base, dropout } = context;
  const tensors = {
    down: params["down"] as tf.Tensor2D,
    up: params["up"] as tf.Tensor2D,
    downBias: params["downBias"] as tf.Tensor1D | undefined,
    upBias: params["upBias"] as tf.Tensor1D | undefined,
    scale: config.scaling === "learned" ? (params["scale"] as tf.Tensor) : config.scaling,
    nonLinearity: config.nonLinearity,
  };
  const adapter = (input: tf.Tensor2D): tf.Tensor2D => bottleneck(dropout(input, config.adapterDropout), tensors);
  return adaptedLayer(x, { placement, base, adapter });
}

function trainsBias(bias: BottleneckConfig["bias"], name: string, targets: readonly LayerSite[]): boolean {
  if (bias === "none") return false;
  if (bias === "all") return isBias(name);
  return targets.some((site) => site.bias === name);
}

/** Files have no key for layers or blocks that are left out: they name those that are adapted. */
function file<Config extends BottleneckConfig>({ config, sites }: FileContext<Config>): FileForm<Config> {
  const params = new Map(sites.map(({ site, params: tensors }) => [site.path, tensors]));
  const narrowed = config.excludeModules !== null || config.layersToTransform !== null;
  return { config: narrowed ? { ...config, targetModules: null } : config, params };
}

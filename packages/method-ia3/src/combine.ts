import { float32, PeftError } from "@peftjs/core";
import type { CombineContext, CombineOptions, FileForm, HostTensor } from "@peftjs/core";
import type { Ia3Config } from "./config.ts";
import { expressionFor, sideOf } from "./placement.ts";

type Site = CombineContext<Ia3Config>["sites"][number];

/**
 * l = Σ wᵢ·lᵢ, the Python library's weighted sum. An adapter that leaves a layer alone counts there as l = 1, which is what it does.
 * @throws PeftError `COMBINE_UNSUPPORTED` when one adapter scales the input of a layer and another its output; `CONFIG_INVALID` for a type
 * of combination other than "linear", or settings of one.
 */
export function combine({ adapters, sites, options }: CombineContext<Ia3Config>): FileForm<Ia3Config> {
  requireLinear(options);
  const { config } = adapters[0] as (typeof adapters)[number];
  const weights = adapters.map(({ weight }) => weight);
  const inner = sites.filter((site) => agreedSide(site) === "input").map(({ site }) => site.path);
  return {
    // Names in a list would have to be among those of the targets, which are not known here.
    config: { ...config, feedforwardModules: expressionFor(inner) },
    params: new Map(sites.map((site) => [site.site.path, { l: weightedSum(site, weights) }])),
  };
}

function requireLinear({ type = "linear", ...settings }: CombineOptions): void {
  const unknown = Object.keys(settings);
  if (type === "linear" && unknown.length === 0) return;
  const got = [type === "linear" ? [] : `type ${JSON.stringify(type)}`, unknown].flat();
  throw new PeftError(
    "CONFIG_INVALID",
    `Adapters of (IA)³ become one by the weighted sum of their vectors, type "linear", which has no settings; got ${got.join(", ")}. ` +
      "Leave them out.",
  );
}

function agreedSide({ site, parts }: Site): "input" | "output" {
  const sides = parts.flatMap((part) => (part === null ? [] : [sideOf(site, part.config)]));
  const [side = "output"] = sides;
  if (sides.every((each) => each === side)) return side;
  throw new PeftError(
    "COMBINE_UNSUPPORTED",
    `One of the adapters scales the input of ${site.path} and another its output: no one vector does both. ` +
      "setActive applies both; adapters with the same feedforwardModules combine.",
  );
}

function weightedSum({ parts }: Site, weights: readonly number[]): HostTensor {
  const vectors = parts.map((part) => part?.params["l"] ?? null);
  const { data, shape } = vectors.find((l) => l !== null) as HostTensor;
  const sum = new Float32Array(data.length);
  for (const [i, l] of vectors.entries()) {
    const weight = weights[i] as number;
    for (let j = 0; j < sum.length; j++) sum[j] = (sum[j] as number) + weight * (l?.data[j] ?? 1);
  }
  return float32(sum, shape);
}

import { float32, kaimingUniform, matrix, PeftError, qr, zeros } from "@peftjs/core";
import type { Generator, HostTensor, InitContext, InitResult, Named } from "@peftjs/core";
import { initEva } from "../eva/init.ts";
import { initOlora } from "../olora/init.ts";
import { initPissa } from "../pissa/init.ts";
import type { LoraConfig } from "./config.ts";

/**
 * Start values of one layer. Numbers are drawn exactly as the Python library draws them, so that the same seed gives the
 * same adapter: first what torch's constructors draw for A, B and the bias, then, unless `initLoraWeights` is false, A anew.
 */
export function initLora(context: InitContext<LoraConfig>): InitResult {
  const { config } = context;
  const init = config.initLoraWeights;
  checkBias(context);
  if (typeof init === "string" && init.startsWith("pissa")) return initPissa(context);
  if (init === "olora") return initOlora(context);
  if (init === "eva") {
    const { site, generator } = context;
    return initEva(context, initPlain({ site, generator, config: { ...config, initLoraWeights: true } }));
  }
  return { params: initPlain(context) };
}

/** The bias of B starts at zero or as constructed: other starts say nothing of it, and an embedding has none. */
function checkBias({ site, config: { loraBias, initLoraWeights } }: InitContext<LoraConfig>): void {
  if (!loraBias) return;
  if (site.kind === "embedding") {
    throw new PeftError(
      "CONFIG_INVALID",
      `loraBias: true cannot be used with the embedding "${site.path}". Leave it out of targetModules, or set loraBias: false.`,
    );
  }
  if (typeof initLoraWeights === "string") {
    throw new PeftError(
      "CONFIG_INVALID",
      `loraBias: true needs initLoraWeights true or false, got "${initLoraWeights}". Set one of them, or loraBias: false.`,
    );
  }
}

function initPlain({
  site,
  config,
  generator,
}: Pick<InitContext<LoraConfig>, "site" | "config" | "generator">): Named<HostTensor> {
  if (site.kind === "embedding") return initEmbedding(site.path, site.inFeatures, site.outFeatures, config, generator);
  const { rank } = config;
  const constructed = {
    a: kaimingUniform([rank, site.inFeatures], generator),
    b: kaimingUniform([site.outFeatures, rank], generator),
    ...(config.loraBias
      ? {
          biasB: float32(generator.uniform(site.outFeatures, -1 / Math.sqrt(rank), 1 / Math.sqrt(rank)), [
            site.outFeatures,
          ]),
        }
      : {}),
  };
  switch (config.initLoraWeights) {
    case false:
      return constructed;
    case "orthogonal":
      return {
        ...constructed,
        ...initOrthogonal({ rank, inFeatures: site.inFeatures, outFeatures: site.outFeatures, generator }),
      };
    case "gaussian":
      return {
        ...zeroed(constructed),
        a: float32(generator.normal(rank * site.inFeatures, 0, 1 / rank), [rank, site.inFeatures]),
      };
    default:
      return { ...zeroed(constructed), a: kaimingUniform([rank, site.inFeatures], generator) };
  }
}

/** A [r, vocabulary] zero, B [dim, r] normal(0, 1): the zero one is the table, so that a step touches the rows it saw. */
function initEmbedding(
  path: string,
  vocabulary: number,
  dim: number,
  config: LoraConfig,
  generator: Generator,
): Named<HostTensor> {
  const { rank } = config;
  const normal = (shape: readonly [number, number]) => float32(generator.normal(shape[0] * shape[1]), shape);
  const constructed = { embeddingA: normal([rank, vocabulary]), embeddingB: normal([dim, rank]) };
  if (config.initLoraWeights === false) return constructed;
  if (config.initLoraWeights === "orthogonal") {
    throw new PeftError(
      "CONFIG_INVALID",
      `initLoraWeights: "orthogonal" cannot be used with the embedding "${path}". Use true.`,
    );
  }
  return { embeddingA: zeros([rank, vocabulary]), embeddingB: normal([dim, rank]) };
}

interface OrthogonalShape {
  readonly rank: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly generator: Generator;
}

/**
 * Q orthonormal [r, r]; A = (N·Q_odd)ᵀ/10 and B = Nᵀ·Q_even/10 with N standard normal and Q_odd, Q_even every other row of
 * Q: the rows are orthogonal to each other, so B·A = 0 although neither is zero.
 */
function initOrthogonal({ rank, inFeatures, outFeatures, generator }: OrthogonalShape): {
  a: HostTensor;
  b: HostTensor;
} {
  if (rank % 2 !== 0) {
    throw new PeftError(
      "CONFIG_INVALID",
      `initLoraWeights: "orthogonal" needs an even rank, got ${rank}. Use ${rank + 1} or ${rank - 1}.`,
    );
  }
  const half = rank / 2;
  const q = qr(matrix(generator.normal(rank * rank), [rank, rank])).q.data;
  const forA = generator.normal(inFeatures * half);
  const forB = generator.normal(half * outFeatures);
  const a = new Float32Array(rank * inFeatures);
  const b = new Float32Array(outFeatures * rank);
  for (let column = 0; column < rank; column++) {
    for (let k = 0; k < half; k++) {
      const odd = q[2 * k * rank + column]! / 10;
      const even = q[(2 * k + 1) * rank + column]! / 10;
      for (let i = 0; i < inFeatures; i++) a[column * inFeatures + i]! += forA[i * half + k]! * odd;
      for (let o = 0; o < outFeatures; o++) b[o * rank + column]! += forB[k * outFeatures + o]! * even;
    }
  }
  return { a: float32(a, [rank, inFeatures]), b: float32(b, [outFeatures, rank]) };
}

function zeroed(params: { readonly b: HostTensor; readonly biasB?: HostTensor }): Record<string, HostTensor> {
  return { b: zeros(params.b.shape), ...(params.biasB === undefined ? {} : { biasB: zeros(params.biasB.shape) }) };
}

import { float32, matmul, matrix, PeftError, qr, svd, transpose, truncatedSvd, zeros } from "@peftjs/core";
import type { Generator, HostMatrix, HostTensor, LayerSite, Named } from "@peftjs/core";
import { factorNames, loraScale } from "../lora/config.ts";
import type { LoraConfig } from "../lora/config.ts";
import { scaledColumns, toMatrix } from "../matrices.ts";

/** An update s·B·A of a layer, a [r, in], b [out, r], and its bias s·β. */
export interface Factors {
  readonly a: HostMatrix;
  readonly b: HostMatrix;
  readonly bias: Float32Array | null;
  readonly scale: number;
}

/** `config` is that of the layer. */
export function factorsOf(site: LayerSite, params: Named<HostTensor>, config: LoraConfig): Factors {
  const names = factorNames(site);
  const other = Object.keys(params).find((name) => ![names.a, names.b, "biasB"].includes(name));
  if (other !== undefined) {
    throw new PeftError(
      "COMBINE_UNSUPPORTED",
      `The adapter changes "${site.path}" by more than s·B·A: it has "${other}", of which there is no weighted sum. Merge it instead.`,
    );
  }
  return {
    a: toMatrix(params[names.a] as HostTensor),
    b: toMatrix(params[names.b] as HostTensor),
    bias: (params["biasB"]?.data as Float32Array | undefined) ?? null,
    scale: loraScale(config),
  };
}

/** A and B of rank `rank` as tensors: ranks that are not there are zero. */
export function padded(site: LayerSite, { a, b }: Pick<Factors, "a" | "b">, rank: number): Record<string, HostTensor> {
  const names = factorNames(site);
  const wideA = zeros([rank, a.columns]);
  wideA.data.set(a.data);
  const wideB = zeros([b.rows, rank]);
  for (let row = 0; row < b.rows; row++) {
    wideB.data.set(b.data.subarray(row * b.columns, (row + 1) * b.columns), row * rank);
  }
  return { [names.a]: wideA, [names.b]: wideB };
}

interface TruncateOptions {
  readonly rank: number;
  /** Draws the sketch that the decomposition of a large matrix starts from. */
  readonly generator: Generator;
}

/** Rows and columns up to which the whole decomposition is computed. */
const LARGE = 256;

/**
 * The closest update of rank `rank` to B·A: B' = U·S, A' = Vᵀ of its singular value decomposition. B·A is never formed: with B = Q·R and
 * Aᵀ = P·T it is Q·(R·Tᵀ)·Pᵀ, and R·Tᵀ is as small as the ranks.
 */
export function truncateProduct(
  { a, b }: Pick<Factors, "a" | "b">,
  options: TruncateOptions,
): Pick<Factors, "a" | "b"> {
  const left = qr(b);
  const right = qr(transpose(a));
  const core = truncate(matmul(left.r, transpose(right.r)), options);
  return { a: matmul(core.a, transpose(right.q)), b: matmul(left.q, core.b) };
}

/** The closest update of rank `rank` to a whole ΔW [out, in]: B = U·S, A = Vᵀ. */
export function truncate(update: HostMatrix, { rank, generator }: TruncateOptions): Pick<Factors, "a" | "b"> {
  const isLarge = Math.min(update.rows, update.columns) > LARGE;
  const { u, s, v } = isLarge
    ? truncatedSvd(update, { rank, iterations: 16, oversampling: 8, generator })
    : svd(update);
  const kept = s.subarray(0, rank);
  return {
    a: transpose(
      scaledColumns(
        v,
        kept.map(() => 1),
      ),
    ),
    b: scaledColumns(u, kept),
  };
}

/** Both factors with their entries limited to ± the quantile of all of them (linear between neighbours, as in torch). */
export function clamped({ a, b }: Pick<Factors, "a" | "b">, quantile: number): Pick<Factors, "a" | "b"> {
  const sorted = Float64Array.from([...b.data, ...a.data]).sort();
  const position = quantile * (sorted.length - 1);
  const below = sorted[Math.floor(position)] as number;
  const limit = below + (position % 1) * ((sorted[Math.ceil(position)] as number) - below);
  const clamp = ({ rows, columns, data }: HostMatrix): HostMatrix =>
    matrix(
      Float64Array.from(data, (value) => Math.min(limit, Math.max(-limit, value))),
      [rows, columns],
    );
  return { a: clamp(a), b: clamp(b) };
}

export function vector(values: Float64Array): HostTensor {
  return float32(Float32Array.from(values), [values.length]);
}

import { defineInterchange, zeros } from "@peftjs/core";
import type {
  AdapterContext,
  FileForm,
  HostSite,
  HostTensor,
  Interchange,
  LayerSite,
  Named,
  PeftError,
} from "@peftjs/core";
import type { RocoftConfig } from "../config.ts";
import { learnedChange } from "../slice.ts";
import { formOfLines, type Lines } from "./forms.ts";
import { loraFile, LoraFileConfig } from "./loraFile.ts";
import { oneHotPositions, oneHotRows, permuteColumns, permuteRows, transposed } from "./oneHot.ts";
import { unsupported } from "./unsupported.ts";

type Axis = "row" | "column";

/**
 * Rows and columns as LoRA. Rows: ΔW = B·A with A = D [r, in] and B [out, r] one-hot, B[R[k], k] = 1. Columns: A [r, in] one-hot,
 * A[k, C[k]] = 1, and B = D [out, r]. α = r, so that the scale is 1 and the product is ΔW to the bit. Training such a file elsewhere
 * moves both factors. Read back is what has this form, with distinct rows or columns and a scale of 1.
 */
export const asLora: Interchange<RocoftConfig> = defineInterchange<RocoftConfig, LoraFileConfig>({
  carrier: loraFile,
  to,
  from,
});

function to({ config: { mode }, sites }: AdapterContext<RocoftConfig>): FileForm<LoraFileConfig> {
  if (mode === "entries")
    throw unsupported('Mode "entries" has no low rank, and LoRA files hold low-rank factors. Use as: "shira".');
  const loraBias = sites.some(({ params }) => params["biasDelta"] !== undefined);
  const layers = sites.map(({ site, params }) => {
    const indices = params["indices"]?.data ?? [];
    return {
      site,
      rank: Math.max(indices.length, 1),
      factors: { ...factors({ site, mode, indices, params }), ...biasOf(site, params, loraBias) },
    };
  });
  const rank = Math.max(...layers.map((layer) => layer.rank));
  const others = Object.fromEntries(
    layers.filter((layer) => layer.rank !== rank).map((layer) => [layer.site.path, layer.rank]),
  );
  return {
    config: LoraFileConfig.parse({ rank, alpha: rank, rankPattern: others, alphaPattern: others, loraBias }),
    params: new Map(layers.map((layer) => [layer.site.path, layer.factors])),
  };
}

interface FactorOptions {
  readonly site: LayerSite;
  readonly mode: Axis;
  readonly indices: ArrayLike<number>;
  readonly params: Named<HostTensor>;
}

/** A layer of which only the bias learns gets factors of rank 1 that come to nothing. */
function factors({ site, mode, indices, params }: FactorOptions): { readonly a: HostTensor; readonly b: HostTensor } {
  const change = learnedChange(params);
  if (change === undefined) return { a: zeros([1, site.inFeatures]), b: zeros([site.outFeatures, 1]) };
  if (mode === "row") return { a: change, b: transposed(oneHotRows(indices, site.outFeatures)) };
  return { a: oneHotRows(indices, site.inFeatures), b: change };
}

/** `lora_bias` is a setting of the whole file. */
function biasOf(site: LayerSite, { biasDelta }: Named<HostTensor>, loraBias: boolean): { readonly biasB?: HostTensor } {
  if (!loraBias) return {};
  if (biasDelta !== undefined) return { biasB: biasDelta };
  throw unsupported(
    `The biases of some layers learn, but "${site.path}" has none, and a LoRA file has biases on all of its layers or on none. ` +
      `Train with bias: "none", or target only layers that have a bias.`,
  );
}

function from({ sites }: AdapterContext<LoraFileConfig>): FileForm<RocoftConfig> {
  for (const site of sites) requireUnitScale(site);
  const found = [rowsOf, columnsOf].map((read) => sites.map(read));
  const read = found.find((layers) => layers.every((layer) => layer !== null)) as readonly Lines[] | undefined;
  if (read === undefined) throw notOneHot(sites, found);
  const mode: Axis = read === found[0] ? "row" : "column";
  return formOfLines(mode, read);
}

function rowsOf({ site, params }: HostSite<LoraFileConfig>): Lines | null {
  const { a, b, biasB } = params as { a: HostTensor; b: HostTensor; biasB?: HostTensor };
  const at = oneHotPositions(transposed(b));
  return at === null ? null : { site, bias: biasB, indices: at.indices, change: permuteRows(a, at.order) };
}

function columnsOf({ site, params }: HostSite<LoraFileConfig>): Lines | null {
  const { a, b, biasB } = params as { a: HostTensor; b: HostTensor; biasB?: HostTensor };
  const at = oneHotPositions(a);
  return at === null ? null : { site, bias: biasB, indices: at.indices, change: permuteColumns(b, at.order) };
}

function requireUnitScale({ site, config: { rank, alpha, useRslora } }: HostSite<LoraFileConfig>): void {
  const scale = alpha / (useRslora ? Math.sqrt(rank) : rank);
  if (scale === 1) return;
  throw unsupported(
    `The factors of "${site.path}" have scale ${scale}; RoCoFT has none, so it should be 1 (lora_alpha equal to r). ` +
      `Read the file by a method of type LORA, e.g. lora of @peftjs/method-lora-family.`,
  );
}

function notOneHot(
  sites: readonly HostSite<LoraFileConfig>[],
  [rows = []]: readonly (readonly (Lines | null)[])[],
): PeftError {
  const path = (sites.find((_, i) => rows[i] === null) as HostSite<LoraFileConfig>).site.path;
  return unsupported(
    `This LoRA file is not one of rows or columns: neither is B of every layer one-hot (one 1 in every column, in distinct rows) nor A ` +
      `(one 1 in every row, in distinct columns). B of "${path}" is not. Read it by a method of type LORA, e.g. lora of @peftjs/method-lora-family.`,
  );
}

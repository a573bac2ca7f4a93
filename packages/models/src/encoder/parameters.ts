import { PROMPT } from "@peftjs/core";
import type { Head, LayerSite, ParameterSpec, SiteRole } from "@peftjs/core";
import type { EncoderConfig } from "./config.ts";
import { trunkPath, type EncoderFamily } from "./family.ts";

export function linearParameters(
  path: string,
  { inFeatures, outFeatures, std }: { inFeatures: number; outFeatures: number; std: number },
): ParameterSpec[] {
  return [
    { name: `${path}.weight`, shape: [outFeatures, inFeatures], init: { kind: "normal", std } },
    { name: `${path}.bias`, shape: [outFeatures], init: { kind: "zeros" } },
  ];
}

export function normParameters(path: string, size: number): ParameterSpec[] {
  return [
    { name: `${path}.weight`, shape: [size], init: { kind: "ones" } },
    { name: `${path}.bias`, shape: [size], init: { kind: "zeros" } },
  ];
}

export function linearSite(
  path: string,
  {
    role,
    block = null,
    inFeatures,
    outFeatures,
    norm,
  }: { role: SiteRole; block?: number | null; inFeatures: number; outFeatures: number; norm?: string },
): LayerSite {
  return {
    path,
    kind: "linear",
    role,
    block,
    inFeatures,
    outFeatures,
    layout: "out_in",
    weight: `${path}.weight`,
    bias: `${path}.bias`,
    ...(norm === undefined ? {} : { norm: { weight: `${norm}.weight`, bias: `${norm}.bias` } }),
  };
}

/** Embeddings and blocks, in the order of the Python library's state dict. */
export function trunkParameters(family: EncoderFamily, config: EncoderConfig, head: Head): ParameterSpec[] {
  const path = trunkPath(family, head);
  const { hiddenSize: hidden, initializerRange: std } = config;
  const table = (name: string, rows: number, zeroRow?: number): ParameterSpec => ({
    name: `${path}embeddings.${name}.weight`,
    shape: [rows, hidden],
    init: zeroRow === undefined ? { kind: "normal", std } : { kind: "normal", std, zeroRow },
  });
  const positionPadding = family.positions === "afterPadding" ? config.padTokenId : undefined;
  const blocks = Array.from({ length: config.numHiddenLayers }, (_, i) =>
    blockParameters(family, config, `${path}encoder.layer.${i}`),
  );
  return [
    table("word_embeddings", config.vocabSize, config.padTokenId),
    table("position_embeddings", config.maxPositionEmbeddings, positionPadding),
    table("token_type_embeddings", config.typeVocabSize),
    ...normParameters(`${path}embeddings.LayerNorm`, hidden),
    ...blocks.flat(),
    ...(family.normOrder === "pre" ? normParameters(`${path}LayerNorm`, hidden) : []),
  ];
}

function blockParameters(family: EncoderFamily, config: EncoderConfig, path: string): ParameterSpec[] {
  const { hiddenSize: hidden, intermediateSize: inner, initializerRange: std } = config;
  const linear = (name: string, inFeatures: number, outFeatures: number) =>
    linearParameters(`${path}.${name}`, { inFeatures, outFeatures, std });
  const post = family.normOrder === "post";
  return [
    ...["query", "key", "value"].flatMap((name) => linear(`attention.self.${name}`, hidden, hidden)),
    ...linear("attention.output.dense", hidden, hidden),
    ...normParameters(post ? `${path}.attention.output.LayerNorm` : `${path}.attention.LayerNorm`, hidden),
    ...(post ? [] : normParameters(`${path}.intermediate.LayerNorm`, hidden)),
    ...linear("intermediate.dense", hidden, inner),
    ...linear("output.dense", inner, hidden),
    ...(post ? normParameters(`${path}.output.LayerNorm`, hidden) : []),
  ];
}

/** The place of virtual tokens, word embeddings, and the linear layers of the blocks. */
export function trunkSites(family: EncoderFamily, config: EncoderConfig, head: Head): LayerSite[] {
  const path = trunkPath(family, head);
  const { vocabSize, hiddenSize: hidden, intermediateSize: inner } = config;
  const words = `${path}embeddings.word_embeddings`;
  const { numHiddenLayers: blocks, numAttentionHeads: heads } = config;
  const table: Pick<LayerSite, "block" | "inFeatures" | "outFeatures" | "layout" | "weight" | "bias"> = {
    ...{ block: null, inFeatures: vocabSize, outFeatures: hidden },
    ...{ layout: "in_out", weight: `${words}.weight`, bias: null },
  };
  const sites: LayerSite[] = [
    {
      ...{ ...table, path: PROMPT, kind: "prompt", role: PROMPT },
      prompt: { blocks, heads, keyValueHeads: heads, keyValueFeatures: hidden },
    },
    { ...table, path: words, kind: "embedding", role: "embedding" },
  ];
  for (let block = 0; block < config.numHiddenLayers; block++) {
    const layer = `${path}encoder.layer.${block}`;
    const square = { block, inFeatures: hidden, outFeatures: hidden };
    const norms = blockNorms(family, path, block);
    const normed = { ...square, norm: norms.attention };
    const up = { block, inFeatures: hidden, outFeatures: inner, norm: norms.feedForward };
    sites.push(
      linearSite(`${layer}.attention.self.query`, { role: "query", ...normed }),
      linearSite(`${layer}.attention.self.key`, { role: "key", ...normed }),
      linearSite(`${layer}.attention.self.value`, { role: "value", ...normed }),
      linearSite(`${layer}.attention.output.dense`, { role: "attentionOutput", ...square }),
      linearSite(`${layer}.intermediate.dense`, { role: "ffnUp", ...up }),
      linearSite(`${layer}.output.dense`, { role: "ffnDown", block, inFeatures: inner, outFeatures: hidden }),
    );
  }
  return sites;
}

/** The normalisations that a block's attention and its feed-forward layer read. */
function blockNorms(
  { normOrder }: EncoderFamily,
  path: string,
  block: number,
): { readonly attention: string; readonly feedForward: string } {
  const layer = (index: number): string => `${path}encoder.layer.${index}`;
  if (normOrder === "pre") {
    return {
      attention: `${layer(block)}.attention.LayerNorm`,
      feedForward: `${layer(block)}.intermediate.LayerNorm`,
    };
  }
  return {
    attention: block === 0 ? `${path}embeddings.LayerNorm` : `${layer(block - 1)}.output.LayerNorm`,
    feedForward: `${layer(block)}.attention.output.LayerNorm`,
  };
}

/** What a layer does, independent of how an architecture names it. */
export type SiteRole =
  | "query"
  | "key"
  | "value"
  | "attentionOutput"
  | "ffnUp"
  | "ffnGate"
  | "ffnDown"
  | "pooler"
  | "classifier"
  | "embedding"
  | (string & {});

/** What virtual tokens of a model are made of. */
export interface PromptShape {
  /** Transformer blocks; each has keys and values. */
  readonly blocks: number;
  /** Heads of the queries. */
  readonly heads: number;
  /** Heads of keys and values: fewer than `heads` where queries share them. */
  readonly keyValueHeads: number;
  /** Features of a key, and of a value: `keyValueHeads` times the size of a head. */
  readonly keyValueFeatures: number;
}

/** Role and path of the place where virtual tokens stand: in front of the model's input. */
export const PROMPT = "prompt";

/** Outputs `from` (inclusive) to `to` (exclusive) of a layer, which do what a layer of this role does. */
export interface SitePart {
  readonly role: SiteRole;
  readonly from: number;
  readonly to: number;
}

/** Parameter names of a normalisation: y = γ·x̂ + β, or γ·x̂. */
export interface SiteNorm {
  readonly weight: string;
  readonly bias: string | null;
}

/**
 * A layer that a method can attach to.
 *
 * `linear`: y = x·Wᵀ + b, x [n, in]. `embedding`: y = W[ids], W [in, out] with `in` the vocabulary. `prompt`: no layer but the model's
 * input, where virtual tokens [n, out] stand in front of the batch's; W is the table of the word embeddings. At most one per model,
 * targeted by its role alone.
 */
export interface LayerSite {
  /** Hugging Face's module path, e.g. `bert.encoder.layer.0.attention.self.query`. */
  readonly path: string;
  readonly kind: "linear" | "embedding" | "prompt";
  readonly role: SiteRole;
  /** Index of the transformer block; null outside the blocks. */
  readonly block: number | null;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** How the weight is stored: torch's linear `[out, in]`, or Conv1D and embeddings `[in, out]`. */
  readonly layout: "out_in" | "in_out";
  /** Parameter names in the model. */
  readonly weight: string;
  readonly bias: string | null;
  /** The normalisation whose output the layer reads, if known: eight bits are then more exact (`inputScales`). */
  readonly norm?: SiteNorm;
  /**
   * Of a fused layer: what its outputs do, e.g. thirds for queries, keys and values. A role may have several parts, where heads are
   * interleaved; outputs in no part have no role of their own.
   */
  readonly parts?: readonly SitePart[];
  /** Of the kind `prompt`. */
  readonly prompt?: PromptShape;
}

/** Names of the base parameters that the layer computes with. A prompt has none: its weight is where virtual tokens may start from. */
export function layerParameters({ kind, weight, bias }: LayerSite): readonly string[] {
  if (kind === "prompt") return [];
  return bias === null ? [weight] : [weight, bias];
}

/** Shape of the weight as it is stored. */
export function weightShape(site: LayerSite): [number, number] {
  return site.layout === "out_in" ? [site.outFeatures, site.inFeatures] : [site.inFeatures, site.outFeatures];
}

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

/**
 * A layer that a method can attach to.
 *
 * `linear`: y = x·Wᵀ + b, x [n, in]. `embedding`: y = W[ids], W [in, out] with `in` the vocabulary.
 */
export interface LayerSite {
  /** Hugging Face's module path, e.g. `bert.encoder.layer.0.attention.self.query`. */
  readonly path: string;
  readonly kind: "linear" | "embedding";
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
}

/** Shape of the weight as it is stored. */
export function weightShape(site: LayerSite): [number, number] {
  return site.layout === "out_in" ? [site.outFeatures, site.inFeatures] : [site.inFeatures, site.outFeatures];
}

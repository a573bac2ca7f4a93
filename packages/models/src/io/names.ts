import type { Head, ParameterSpec } from "@peftjs/core";

/** Values that a file may hold and no model reads: positions and causal masks that older versions stored. */
const BUFFERS = /(^|\.)(position_ids|token_type_ids|attn\.bias|attn\.masked_bias|rotary_emb\.inv_freq)$/u;

export interface NameContext {
  /** Names the model has, tied ones included. */
  readonly names: ReadonlySet<string>;
  readonly basePrefix: string;
}

/**
 * The model's name of a tensor in a file, or null. Old files call norms `gamma` and `beta`; files of a bare model lack the
 * prefix, and a bare model reads files that have it.
 */
export function modelName(fileName: string, { names, basePrefix }: NameContext): string | null {
  const renamed = fileName
    .replace(/LayerNorm\.gamma$/u, "LayerNorm.weight")
    .replace(/LayerNorm\.beta$/u, "LayerNorm.bias");
  const prefix = `${basePrefix}.`;
  const candidates = [renamed, prefix + renamed, ...(renamed.startsWith(prefix) ? [renamed.slice(prefix.length)] : [])];
  return candidates.find((name) => names.has(name)) ?? null;
}

export function isBuffer(fileName: string): boolean {
  return BUFFERS.test(fileName);
}

/** Whether a parameter may be drawn fresh when a file lacks it: the head, and the pooler, which masked-LM files do not have. */
export function belongsToHead({ name }: ParameterSpec, head: Head, basePrefix: string): boolean {
  const trunk = head.kind === "none" ? "" : `${basePrefix}.`;
  return !name.startsWith(trunk) || name.startsWith(`${trunk}pooler.`);
}

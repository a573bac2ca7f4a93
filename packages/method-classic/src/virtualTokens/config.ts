import { PeftError, PROMPT, targetFields } from "@peftjs/core";
import type { LayerSite, PromptShape, TargetConfig, Wire } from "@peftjs/core";
import { z } from "zod";

const size = z.int().positive().nullable().default(null);

/** Settings that all methods of virtual tokens have. */
export const virtualTokenFields = {
  numVirtualTokens: z.int().positive().default(20).describe("Number n of virtual tokens."),
  modulesToSave: targetFields.modulesToSave,
  tokenDim: size.describe("Width of what is learned per token. Filled in from the model, for the Python library."),
  numLayers: size.describe("Transformer blocks of the model. Filled in likewise."),
  numAttentionHeads: size.describe("Attention heads of the model. Filled in likewise."),
} as const;

const VirtualTokenSchema = z.object(virtualTokenFields);
export type VirtualTokenConfig = z.infer<typeof VirtualTokenSchema>;

/** Settings of an encoder that makes the virtual tokens while it is trained. */
export const encoderFields = {
  encoderHiddenSize: size.describe("Width h inside the encoder. Default: tokenDim."),
} as const;
export interface EncoderConfig extends VirtualTokenConfig {
  readonly encoderHiddenSize: number | null;
}

/** What the methods' files have in common. */
export const virtualTokenWire = {
  config: {
    numVirtualTokens: "num_virtual_tokens",
    modulesToSave: "modules_to_save",
    tokenDim: "token_dim",
    numLayers: "num_layers",
    numAttentionHeads: "num_attention_heads",
  },
  /** The table of virtual tokens; an encoder that makes it is not written. */
  tensors: { table: "prompt_embeddings", input: null, w1: null, b1: null, w2: null, b2: null, w3: null, b3: null },
  constants: { num_transformer_submodules: 1 },
} as const satisfies Pick<Wire<VirtualTokenConfig>, "config" | "tensors" | "constants">;

/** The place in front of the model's input. */
export function promptTarget({ modulesToSave }: Pick<VirtualTokenConfig, "modulesToSave">): TargetConfig {
  return {
    ...{ targetModules: null, targetRoles: [PROMPT], excludeModules: null },
    ...{ layersToTransform: null, layersPattern: null, modulesToSave },
  };
}

/** @throws PeftError `CONFIG_INVALID` for a layer: virtual tokens have a place of their own. */
export function promptShape({ path, prompt }: LayerSite): PromptShape {
  if (prompt !== undefined) return prompt;
  throw new PeftError(
    "CONFIG_INVALID",
    `Virtual tokens stand in front of a model's input, not at the layer "${path}".`,
  );
}

type Sizes = Pick<VirtualTokenConfig, "tokenDim" | "numLayers" | "numAttentionHeads">;

/** Sizes of virtual word embeddings. */
export function embeddingSizes(site: LayerSite): Sizes {
  const { blocks, heads } = promptShape(site);
  return { tokenDim: site.outFeatures, numLayers: blocks, numAttentionHeads: heads };
}

/** Sizes of virtual keys and values. */
export function keyValueSizes(site: LayerSite): Sizes {
  const { blocks, keyValueHeads, keyValueFeatures } = promptShape(site);
  return { tokenDim: keyValueFeatures, numLayers: blocks, numAttentionHeads: keyValueHeads };
}

/**
 * The config with the model's sizes.
 * @throws PeftError `CONFIG_INVALID` when it says others: it belongs to another model.
 */
export function withSizes<Config extends VirtualTokenConfig>(config: Config, sizes: Sizes): Config {
  for (const [field, own] of Object.entries(sizes)) {
    const given = config[field as keyof Sizes];
    if (given === null || given === own) continue;
    throw new PeftError(
      "CONFIG_INVALID",
      `${field} is ${given}, but this model's is ${own}. The adapter belongs to another model; for a new one leave ${field} out.`,
    );
  }
  return { ...config, ...sizes };
}

/** The same with the encoder's width. */
export function withEncoderSizes<Config extends EncoderConfig>(config: Config, sizes: Sizes): Config {
  const filled = withSizes(config, sizes);
  return { ...filled, encoderHiddenSize: filled.encoderHiddenSize ?? filled.tokenDim };
}

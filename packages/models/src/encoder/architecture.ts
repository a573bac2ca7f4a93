import { PeftError } from "@peftjs/core";
import type { Architecture, Forward, Head, LayerSite, Named, ParameterSpec } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { selectRows } from "../blocks/encoderBlock.ts";
import { parseEncoderConfig, type EncoderConfig } from "./config.ts";
import { trunkPath, type EncoderFamily } from "./family.ts";
import { linearParameters, linearSite, trunkParameters, trunkSites } from "./parameters.ts";
import { pool } from "./pooler.ts";
import { trunk } from "./trunk.ts";
import { withoutVirtual } from "./virtualTokens.ts";

type Batch = Named<tf.Tensor>;

/** What a family puts on the trunk for one kind of head. */
export interface HeadModule {
  parameters(config: EncoderConfig, head: Head): readonly ParameterSpec[];
  sites(config: EncoderConfig, head: Head): readonly LayerSite[];
  /** Modules that are trained whenever an adapter is. */
  readonly trained: readonly string[];
  /** `logits`, and whatever else the head gives. */
  outputs(f: Forward, config: EncoderConfig, head: Head, batch: Batch): Batch;
}

export interface EncoderHeads {
  readonly classification: HeadModule;
  readonly maskedLM: HeadModule;
  readonly preTraining?: HeadModule;
}

/** Builds an architecture from what is particular to its family. */
export function encoderArchitecture(family: EncoderFamily, heads: EncoderHeads): Architecture<EncoderConfig> {
  return {
    modelType: family.modelType,
    basePrefix: family.basePrefix,
    defaultTargets: ["query", "value"],
    parseConfig: (json) => parseEncoderConfig(json, family.defaults),
    parameters: (config, head) => [
      ...trunkParameters(family, config, head),
      ...headModule(family, heads, head).parameters(config, head),
    ],
    sites: (config, head) => [
      ...trunkSites(family, config, head),
      ...headModule(family, heads, head).sites(config, head),
    ],
    headModules: (_config, head) => headModule(family, heads, head).trained,
    forward: (f, config, head, batch) => {
      if (head.kind === "none") return bareOutputs(f, batch, family, config);
      return headModule(family, heads, head).outputs(f, config, head, batch);
    },
  };
}

function headModule(family: EncoderFamily, heads: EncoderHeads, head: Head): HeadModule {
  if (head.kind === "none") return poolerModule(trunkPath(family, head));
  if (head.kind !== "preTraining") return head.kind === "maskedLM" ? heads.maskedLM : heads.classification;
  if (heads.preTraining !== undefined) return heads.preTraining;
  throw new PeftError(
    "HEAD_MISSING",
    `${family.modelType} was not pretrained on pairs of segments: it has no head "preTraining". Use the head "maskedLM".`,
  );
}

/** The bare model: `last_hidden_state` [B, T, H], and `pooler_output` [B, H] of the first position, virtual or not. */
function bareOutputs(f: Forward, batch: Batch, family: EncoderFamily, config: EncoderConfig): Batch {
  const [rows, length] = (batch["input_ids"] as tf.Tensor2D).shape;
  const { hiddenSize } = config;
  const states = trunk(f, batch, { family, config, path: "", select: { kind: "all" } });
  const first = selectRows(states, { kind: "first" }, { batch: rows, length: states.shape[0] / rows });
  const tokens = tf.reshape(withoutVirtual(states, [rows, length]), [rows, length, hiddenSize]);
  return { last_hidden_state: tokens, pooler_output: pool(f, "", first) };
}

/** Parameters and site of the pooler under `path`. */
export function poolerModule(path: string): Pick<HeadModule, "parameters" | "sites" | "trained"> & HeadModule {
  return {
    parameters: ({ hiddenSize, initializerRange }) =>
      linearParameters(`${path}pooler.dense`, {
        inFeatures: hiddenSize,
        outFeatures: hiddenSize,
        std: initializerRange,
      }),
    sites: ({ hiddenSize }) => [
      linearSite(`${path}pooler.dense`, { role: "pooler", inFeatures: hiddenSize, outFeatures: hiddenSize }),
    ],
    trained: [],
    outputs: () => {
      throw new Error("The bare model has no logits.");
    },
  };
}

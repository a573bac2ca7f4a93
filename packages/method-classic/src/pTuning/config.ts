import type { Wire } from "@peftjs/core";
import { z } from "zod";
import { encoderFields, virtualTokenFields, virtualTokenWire } from "../virtualTokens/config.ts";

/** Settings of p-tuning. Names and defaults are those of the Python library, in camelCase. */
export const PTuningConfig = z.strictObject({
  ...virtualTokenFields,
  encoderReparameterizationType: z
    .enum(["MLP", "LSTM"])
    .default("MLP")
    .describe("The encoder. A new adapter has an MLP; files of either kind are read, as they hold its result alone."),
  ...encoderFields,
});
export type PTuningConfig = z.infer<typeof PTuningConfig>;

/** Names in adapter_config.json and the tensor file. */
export const pTuningWire: Wire<PTuningConfig> = {
  peftType: "P_TUNING",
  config: {
    ...virtualTokenWire.config,
    encoderReparameterizationType: "encoder_reparameterization_type",
    encoderHiddenSize: "encoder_hidden_size",
  },
  tensors: virtualTokenWire.tensors,
  // The number of layers and the dropout are the LSTM's: in Python too the MLP has neither.
  constants: { ...virtualTokenWire.constants, encoder_num_layers: 2, encoder_dropout: 0 },
};

import { defineMethod, targetFields } from "@peftjs/core";
import type { Method, TargetConfig } from "@peftjs/core";
import { z } from "zod";

/** Trains the weights and biases of its targets as they are: what rows and columns are held against. */
export const whole: Method<TargetConfig> = defineMethod<TargetConfig>({
  name: "whole",
  description: "Whole layers learn.",
  package: "test",
  config: z.strictObject(targetFields),
  wire: { peftType: "WHOLE", config: {}, tensors: {} },
  capabilities: { merge: true, multiAdapter: false, identityAtStart: true },
  targets: (config) => config,
  trains: ({ name, targets }) => targets.some(({ weight, bias }) => name === weight || name === bias),
});

/** The layers that RoCoFT targets where nothing else is said. */
export const blockRoles = ["query", "key", "value", "attentionOutput", "ffnUp", "ffnDown"];

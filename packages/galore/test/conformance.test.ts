import { full } from "@peftjs/method-classic";
import { lora } from "@peftjs/method-lora-family";
import { describePlugin, subject } from "@peftjs/testkit/conformance";
import { galore } from "../src/index.ts";

const weights = subject(full, { targetModules: ["query", "value"] });
/** W ← W − η·G, which a projection with all axes does not change. */
const descent = { optimizer: "sgd", weightDecay: 0, learningRate: 5e-2 } as const;

describePlugin(galore, {
  config: { rank: 2, updateProjGap: 3, scale: 1 },
  changed: { scale: 0.5 },
  methods: [weights],
  alsoWith: [subject(full)],
  // Before, at and after the second basis.
  interruptedAfter: [2, 3, 4],
  smooth: { rule: "sgd" },
  neutral: [
    {
      name: "descent at full rank",
      config: { rank: 8, updateProjGap: 3, scale: 1, rule: "sgd" },
      training: descent,
      tolerance: { absolute: 1e-5, relative: 1e-5 },
    },
  ],
  refuses: [
    {
      name: "a method that trains no weight of the base model",
      methods: [subject(lora, { rank: 2 })],
      code: "NOTHING_TO_PROJECT",
      remedy: /use\(full, \{ targetModules/u,
    },
    {
      name: "targets that are not there",
      config: { targetModules: ["querry"] },
      code: "TARGET_NOT_FOUND",
      remedy: /Did you mean/u,
    },
  ],
});

describePlugin(galore, {
  config: { rank: 2, updateProjGap: 3, scale: 1, layerwise: true, momentOnRefresh: "project" },
  changed: { layerwise: false },
  methods: [weights],
  training: { maxGradNorm: null },
  interruptedAfter: [2, 3, 4],
  smooth: { rule: "sgd", momentOnRefresh: "keep" },
  clips: false,
  neutral: [
    {
      name: "descent at full rank",
      config: { rank: 8, updateProjGap: 3, scale: 1, rule: "sgd", layerwise: true },
      training: descent,
      tolerance: { absolute: 1e-5, relative: 1e-5 },
    },
  ],
});

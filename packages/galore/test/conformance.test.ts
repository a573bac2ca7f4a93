import { full } from "@peftjs/method-classic";
import { lora } from "@peftjs/method-lora-family";
import { describePlugin, subject } from "@peftjs/testkit/conformance";
import { galore } from "../src/index.ts";

describePlugin(galore, {
  config: { rank: 2, updateProjGap: 2, scale: 2 },
  changed: { updateProjGap: 3 },
  methods: [subject(full, { targetModules: ["query", "value", "output.dense"] })],
  alsoWith: [subject(full)],
  // Before, at and after a refresh.
  interruptedAfter: [2, 3, 4],
  smooth: { rule: "sgd" },
  neutral: [
    {
      name: "gradient descent at full rank",
      config: { rule: "sgd", rank: 16, scale: 1 },
      training: { optimizer: "sgd", weightDecay: 0 },
      tolerance: { absolute: 1e-5, relative: 1e-5 },
    },
  ],
  refuses: [
    {
      name: "weights that do not learn as they are",
      methods: [subject(lora, { rank: 2 })],
      code: "NOTHING_TO_PROJECT",
      remedy: /use\(full, \{ targetModules/u,
    },
    {
      name: "targets that are no layers",
      config: { targetModules: ["qery"] },
      code: "TARGET_NOT_FOUND",
      remedy: /Did you mean "query"/u,
    },
  ],
});

describePlugin(galore, {
  config: { rank: 2, updateProjGap: 2, scale: 2, layerwise: true, rule: "adafactor", basisBits: 4 },
  changed: { layerwise: false },
  methods: [subject(full, { targetModules: ["query", "value", "output.dense"] })],
  interruptedAfter: [2, 3, 4],
  // The basis is that of the first micro-batch, so batches that are divided are the whole ones at full rank alone.
  smooth: { rule: "sgd", rank: 16, basisBits: 32 },
  neutral: [],
});

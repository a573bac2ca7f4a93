import { baseWeights, describePlugin, lowRank, subject } from "@peftjs/testkit/conformance";
import { plain, rates, turns } from "./toys.ts";

describePlugin(turns, {
  config: { every: 2, from: 1 },
  changed: { every: 1 },
  methods: [subject(lowRank, { targetModules: "all-linear" })],
  interruptedAfter: [1, 2, 3],
  neutral: [{ name: "all blocks", config: { all: true } }],
  refuses: [{ name: "a block that is not there", config: { from: 4 }, code: "CONFIG_INVALID", remedy: /Set from/u }],
});

const descent = { optimizer: "sgd", momentum: 0.5, weightDecay: 0 } as const;

describePlugin(plain, {
  config: { momentum: 0.5 },
  changed: { momentum: 0.25 },
  methods: [subject(baseWeights)],
  alsoWith: [subject(lowRank)],
  interruptedAfter: [3, 4],
  neutral: [
    {
      name: "the optimizer's own rule",
      config: { rate: 1, momentum: 0.5, refreshEvery: 100 },
      training: descent,
      tolerance: { absolute: 1e-6, relative: 1e-5 },
    },
  ],
});

describePlugin(rates, {
  config: {},
  changed: { value: 2 },
  neutral: [{ name: "one rate", config: { value: 1 } }],
});

/** Blocks that pause, with an update of their own: each counts its own updates, and is refreshed when those are due. */
describePlugin(turns, {
  config: { every: 1, from: 3 },
  changed: { every: 3 },
  methods: [subject(baseWeights)],
  beside: [{ plugin: plain, config: { momentum: 0.5, refreshEvery: 2 } }],
  // Block 3 has its second update, and so its refresh, in step 5, block 0 in step 6.
  interruptedAfter: [4, 5],
  neutral: [{ name: "all blocks", config: { all: true } }],
  programs: 12,
});

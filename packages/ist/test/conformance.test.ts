import { bitfit, full, head, parallel, series } from "@peftjs/method-classic";
import { dora, lora } from "@peftjs/method-lora-family";
import { rocoft } from "@peftjs/method-rocoft";
import { describePlugin, subject } from "@peftjs/testkit/conformance";
import { ist, rst } from "../src/index.ts";

const methods = [subject(lora, { rank: 2 })];
const nothingInBlocks = {
  name: "a method that trains nothing in blocks",
  methods: [subject(head)],
  code: "BLOCKS_MISSING",
  remedy: /Attach an adapter to layers of the blocks/u,
};
const tooMany = {
  name: "more blocks than there are",
  config: { layersPerStep: 5 },
  code: "CONFIG_INVALID",
  remedy: /Set it to at most 4/u,
};
const noResponse = { code: "RESPONSE_MISSING", remedy: /"rst", which compares nothing, or set candidates to 0/u };

describePlugin(ist, {
  // With this seed the first half of a run has all depths of the backward pass, each of which has its program.
  config: { interval: 2, candidates: 2, importanceBatchSize: 6, layersPerStep: 2, seed: 3 },
  changed: { interval: 3 },
  methods,
  alsoWith: [
    subject(dora, { rank: 2 }),
    subject(series, { bottleneckSize: 2 }),
    subject(parallel, { bottleneckSize: 2 }),
    subject(rocoft, { rank: 1 }),
  ],
  // Before, at and after an update.
  interruptedAfter: [1, 2, 3],
  neutral: [
    { name: "all blocks learn", config: { updateFraction: 1, candidates: 0 } },
    { name: "all blocks learn, and candidates are compared", config: { updateFraction: 1, interval: 2 } },
  ],
  refuses: [
    tooMany,
    nothingInBlocks,
    { name: "full fine-tuning", methods: [subject(full)], ...noResponse },
    { name: "biases alone", methods: [subject(bitfit)], ...noResponse },
    {
      name: "candidates that suppress all blocks",
      config: { layersSuppressed: 4 },
      code: "CONFIG_INVALID",
      remedy: /Set layersSuppressed to at most 3, or candidates to 0/u,
    },
  ],
});

describePlugin(rst, {
  config: { updateFraction: 0.5, resampleEvery: 2, seed: 1 },
  changed: { fixed: true, resampleEvery: 1 },
  methods,
  neutral: [{ name: "all blocks learn", config: { updateFraction: 1 } }],
  refuses: [tooMany, nothingInBlocks],
});

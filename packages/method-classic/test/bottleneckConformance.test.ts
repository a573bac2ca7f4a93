import { describeMethod } from "@peftjs/testkit/conformance";
import { parallel, series } from "../src/index.ts";

const golden = (name: string): URL => new URL(`golden/${name}.json`, import.meta.url);
const bottleneckSize = 4;

describeMethod(series, {
  golden: golden("series"),
  counts: {
    "RoBERTa-base": 9_437_184,
    "RoBERTa-large": 25_165_824,
    "BERT-base": 9_437_184,
    "LLaMA-7B": 201_326_592,
    "GPT-2": 9_437_184,
  },
  cases: [
    { name: "AdapterH", config: { bottleneckSize } },
    { name: "AdapterP, GELU", config: { bottleneckSize, useAdapterp: true, nonLinearity: "gelu" } },
    {
      name: "before and after attention, a factor that learns",
      config: {
        ...{ bottleneckSize, targetModules: ["query", "attention.output.dense"], placement: { query: "before" } },
        scaling: "learned",
      },
    },
  ],
});

describeMethod(parallel, {
  golden: golden("parallel"),
  counts: {
    "RoBERTa-base": 14_155_776,
    "RoBERTa-large": 37_748_736,
    "BERT-base": 14_155_776,
    "LLaMA-7B": 201_326_592,
    "GPT-2": 9_437_184,
  },
  cases: [
    { name: "queries, keys and values", config: { bottleneckSize } },
    {
      name: "feed-forward block, a factor that learns",
      config: {
        bottleneckSize,
        targetRoles: ["ffnUp", "ffnDown"],
        ...{ scaling: "learned", nonLinearity: "silu", bottleneckBias: true },
      },
    },
  ],
});

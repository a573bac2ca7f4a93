import { describeMethod } from "@peftjs/testkit/conformance";
import { sift } from "../src/index.ts";

const modules = ["query", "key", "value", "attention.output.dense"];

describeMethod(sift, {
  golden: new URL("golden/sift.json", import.meta.url),
  counts: {
    // Two of four modules: half of what the paper trains.
    "RoBERTa-large": 403_104,
  },
  cases: [
    { name: "defaults", config: {} },
    {
      name: "dense rate",
      config: { rate: 0.4, targetModules: modules, selectionBatches: 3, weightDecayMode: "delta" },
    },
    { name: "rank", config: { loraRank: 1, targetModules: "all-linear", selection: "random" } },
    {
      name: "weight decay",
      config: { rate: 0.2, selection: "magnitude", weightDecayMode: "weight", includeBias: false },
    },
    { name: "global", config: { scope: "global", rate: 0.01, targetModules: "all-linear" } },
  ],
});

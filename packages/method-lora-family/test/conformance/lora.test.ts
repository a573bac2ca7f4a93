import { describeMethod } from "@peftjs/testkit/conformance";
import { lora } from "../../src/index.ts";

const golden = new URL("golden/lora.json", import.meta.url);
const counts = { "RoBERTa-base": 294_912, "RoBERTa-large": 786_432, "LLaMA-7B": 4_194_304 };

describeMethod(lora, {
  golden,
  counts,
  cases: [
    { name: "defaults", config: {} },
    { name: "all-linear", config: { rank: 2, targetModules: "all-linear", useRslora: true } },
  ],
});

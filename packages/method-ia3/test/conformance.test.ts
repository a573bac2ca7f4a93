import { describeMethod } from "@peftjs/testkit/conformance";
import { ia3 } from "../src/index.ts";

describeMethod(ia3, {
  golden: new URL("golden/ia3.json", import.meta.url),
  counts: {
    "RoBERTa-base": 64_512,
    "RoBERTa-large": 172_032,
    "BERT-base": 64_512,
    "LLaMA-7B": 614_400,
    "GPT-2": 64_512,
  },
  cases: [
    { name: "defaults", config: {} },
    { name: "paper", config: { placement: "paper" } },
  ],
});

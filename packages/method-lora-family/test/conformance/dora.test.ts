import { describeMethod } from "@peftjs/testkit/conformance";
import { dora } from "../../src/index.ts";

const golden = new URL("golden/dora.json", import.meta.url);
const counts = { "RoBERTa-base": 313_344, "RoBERTa-large": 835_584, "LLaMA-7B": 4_456_448 };

// The norm is held fixed in the backward pass, so that the gradient is no derivative unless it is not.
describeMethod(dora, {
  golden,
  counts,
  differentiable: { detachNorm: false },
  cases: [
    { name: "defaults", config: {} },
    { name: "rsLoRA, dense", config: { rank: 3, alpha: 7, useRslora: true, targetModules: ["dense"] } },
  ],
});

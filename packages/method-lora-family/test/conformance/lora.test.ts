import { describeMethod } from "@peftjs/testkit/conformance";
import { lora } from "../../src/index.ts";

const golden = new URL("golden/lora.json", import.meta.url);

describeMethod(lora, {
  golden,
  cases: [
    { name: "defaults", config: {} },
    { name: "all-linear", config: { rank: 2, targetModules: "all-linear", useRslora: true } },
  ],
});

import { describeMethod } from "@peftjs/testkit/conformance";
import { adalora } from "../src/index.ts";

const small = { initRank: 4, targetRank: 2, tinit: 0.25, tfinal: 0.25, deltaT: 2 };

describeMethod(adalora, {
  golden: new URL("golden/adalora.json", import.meta.url),
  cases: [
    { name: "defaults", config: {} },
    { name: "pruned in between", config: { ...small, squaredPenalty: true, orthRegWeight: 0.1 } },
  ],
});

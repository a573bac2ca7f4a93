import { describeMethod, describeReference } from "@peftjs/testkit/conformance";
import { dora } from "../src/index.ts";

const folder = (name: string): URL => new URL(`../../../fixtures/dora/${name}`, import.meta.url);

describeReference(dora, { folders: ["roberta", "roberta-embedding"].map(folder) });

describeMethod(dora, {
  cases: [
    { name: "defaults", config: {} },
    { name: "dense", config: { rank: 3, alpha: 7, useRslora: true, targetModules: ["dense"] } },
  ],
  differentiable: { detachNorm: false },
  golden: new URL("golden/dora.json", import.meta.url),
});

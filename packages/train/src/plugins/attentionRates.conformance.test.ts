import { baseWeights, describePlugin, lowRank, subject } from "@peftjs/testkit/conformance";
import { attentionRates } from "./attentionRates.ts";

const queryAndValue = { targetModules: ["query", "value"] } as const;

describePlugin(attentionRates, {
  config: { lambda: 4 },
  changed: { lambda: 8 },
  methods: [subject(lowRank, queryAndValue)],
  alsoWith: [subject(baseWeights)],
  neutral: [
    { name: "λ = 1", config: { lambda: 1 } },
    { name: "λ = 1, descent", config: { lambda: 1 }, training: { optimizer: "sgd", momentum: 0.9 } },
  ],
});

import { describeMethod } from "@peftjs/testkit/conformance";
import { rocoft } from "../src/index.ts";

describeMethod(rocoft, {
  golden: new URL("golden/rocoft.json", import.meta.url),
  counts: {
    // Three rows of 72 matrices, and their biases.
    "RoBERTa-base": 248_832 + 82_944,
    "RoBERTa-large": 663_552 + 221_184,
    "BERT-base": 248_832 + 82_944,
  },
  cases: [
    { name: "rows", config: {} },
    { name: "columns", config: { mode: "column", rank: 2 } },
    { name: "entries", config: { mode: "entries", matchRows: 2 } },
    { name: "random columns", config: { mode: "column", select: "random" } },
    { name: "random rows, no biases", config: { select: "random", bias: "none" } },
    { name: "absolute", config: { mode: "column", select: "last", parameterisation: "absolute" } },
    { name: "materialised", config: { select: "uniform", forward: "materialised" } },
    { name: "biases alone", config: { rank: 0 } },
  ],
});

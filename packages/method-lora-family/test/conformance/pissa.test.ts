import { describeMethod } from "@peftjs/testkit/conformance";
import { pissa } from "../../src/index.ts";

const golden = new URL("golden/pissa.json", import.meta.url);
const counts = { "RoBERTa-base": 294_912, "RoBERTa-large": 786_432, "LLaMA-7B": 4_194_304 };

describeMethod(pissa, { golden, counts, cases: [{ name: "rank 2", config: { rank: 2 } }] });

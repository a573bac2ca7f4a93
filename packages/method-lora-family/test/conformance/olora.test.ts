import { describeMethod } from "@peftjs/testkit/conformance";
import { olora } from "../../src/index.ts";

const golden = new URL("golden/olora.json", import.meta.url);
const counts = { "RoBERTa-base": 294_912, "RoBERTa-large": 786_432, "LLaMA-7B": 4_194_304 };

describeMethod(olora, { golden, counts, cases: [{ name: "rank 2", config: { rank: 2 } }] });

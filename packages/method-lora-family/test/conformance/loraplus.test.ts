import { describeMethod } from "@peftjs/testkit/conformance";
import { loraplus } from "../../src/index.ts";

const golden = new URL("golden/loraplus.json", import.meta.url);
const counts = { "RoBERTa-base": 294_912, "RoBERTa-large": 786_432, "LLaMA-7B": 4_194_304 };

describeMethod(loraplus, { golden, counts });

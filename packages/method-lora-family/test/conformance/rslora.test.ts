import { describeMethod } from "@peftjs/testkit/conformance";
import { rslora } from "../../src/index.ts";

const golden = new URL("golden/rslora.json", import.meta.url);
const counts = { "RoBERTa-base": 294_912, "RoBERTa-large": 786_432, "LLaMA-7B": 4_194_304 };

describeMethod(rslora, { golden, counts });

import { describeMethod } from "@peftjs/testkit/conformance";
import { adalora } from "../../src/index.ts";

const golden = new URL("golden/adalora.json", import.meta.url);
const counts = { "RoBERTa-base": 1_991_520, "RoBERTa-large": 5_310_144, "LLaMA-7B": 6_292_224 };

describeMethod(adalora, { golden, counts });

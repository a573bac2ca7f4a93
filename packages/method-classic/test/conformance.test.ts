import { describeMethod } from "@peftjs/testkit/conformance";
import { bitfit, full, head } from "../src/index.ts";

const golden = (name: string): URL => new URL(`golden/${name}.json`, import.meta.url);

/** None of these adds parameters: they train those of the model, which the tests beside this one count. */
const counts = { "RoBERTa-base": 0, "RoBERTa-large": 0 };

describeMethod(full, { golden: golden("full"), counts });
describeMethod(bitfit, { golden: golden("bitfit"), counts });
describeMethod(head, { golden: golden("head"), counts });

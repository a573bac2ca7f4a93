import { describeMethod } from "@peftjs/testkit/conformance";
import { bitfit, full, head } from "../src/index.ts";

const golden = (name: string): URL => new URL(`golden/${name}.json`, import.meta.url);

describeMethod(full, { golden: golden("full") });
describeMethod(bitfit, { golden: golden("bitfit") });
describeMethod(head, { golden: golden("head") });

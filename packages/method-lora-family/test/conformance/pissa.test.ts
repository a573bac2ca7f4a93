import { describeMethod } from "@peftjs/testkit/conformance";
import { pissa } from "../../src/index.ts";

const golden = new URL("golden/pissa.json", import.meta.url);

describeMethod(pissa, { golden, cases: [{ name: "rank 2", config: { rank: 2 } }] });

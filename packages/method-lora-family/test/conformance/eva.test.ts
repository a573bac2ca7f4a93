import { describeMethod } from "@peftjs/testkit/conformance";
import { eva } from "../../src/index.ts";

const golden = new URL("golden/eva.json", import.meta.url);

describeMethod(eva, { golden, cases: [{ name: "rank 2", config: { rank: 2, alpha: 2 } }] });

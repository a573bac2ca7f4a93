import { describeMethod } from "@peftjs/testkit/conformance";
import { olora } from "../../src/index.ts";

const golden = new URL("golden/olora.json", import.meta.url);

describeMethod(olora, { golden, cases: [{ name: "rank 2", config: { rank: 2 } }] });

import { describeMethod } from "@peftjs/testkit/conformance";
import { loraplus } from "../../src/index.ts";

const golden = new URL("golden/loraplus.json", import.meta.url);

describeMethod(loraplus, { golden });

import { describeMethod } from "@peftjs/testkit/conformance";
import { rslora } from "../../src/index.ts";

const golden = new URL("golden/rslora.json", import.meta.url);

describeMethod(rslora, { golden });

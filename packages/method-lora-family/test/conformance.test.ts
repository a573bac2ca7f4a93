import { describeMethod } from "@peftjs/testkit/conformance";
import { lora } from "../src/index.ts";

const golden = new URL("golden/losses.json", import.meta.url);

describeMethod(lora, { golden });

import { describeMethod } from "@peftjs/testkit/conformance";
import { adalora } from "../../src/index.ts";

const golden = new URL("golden/adalora.json", import.meta.url);

describeMethod(adalora, { golden });

import { describeMethod } from "@peftjs/testkit/conformance";
import { dora } from "../../src/index.ts";

const golden = new URL("golden/dora.json", import.meta.url);

// The norm is held fixed in the backward pass, so that the gradient is no derivative unless it is not.
describeMethod(dora, { golden, differentiable: { detachNorm: false } });

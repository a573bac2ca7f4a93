import { describeReference } from "@peftjs/testkit/conformance";
import { rocoft } from "../src/index.ts";

const fixture = (name: string): URL => new URL(`../../../fixtures/rocoft/${name}`, import.meta.url);

describeReference(rocoft, { folders: ["bert-rows", "roberta-columns", "roberta-entries"].map(fixture) });
// Values that learn as they are: decay pulls them to zero, as in the original form.
describeReference(rocoft, { folders: [fixture("bert-decay")], training: { weightDecay: 2 } });

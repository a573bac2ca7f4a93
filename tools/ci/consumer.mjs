// Runs in a folder where the packed packages are installed: what a first program of a user does.
import assert from "node:assert/strict";
import * as core from "@peftjs/core";
import * as engine from "@peftjs/engine";
import * as models from "@peftjs/models";
import * as train from "@peftjs/train";
import * as loraFamily from "@peftjs/method-lora-family";

for (const [name, module] of Object.entries({ core, engine, models, train, loraFamily })) {
  assert.ok(Object.keys(module).length > 0, `${name} exports nothing`);
}
assert.equal(loraFamily.lora.name, "lora");
assert.throws(() => loraFamily.lora.config.parse({ rank: -1 }));
console.log("The packed packages load.");

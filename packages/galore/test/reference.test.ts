import { describeOnEngines } from "@peftjs/testkit/conformance";
import { installMatchers } from "@peftjs/testkit";
import { expect, it } from "vitest";
import { losses, reference, referenceModel, values } from "./models.ts";

installMatchers();

describeOnEngines("fifty steps of the published algorithm in torch", (engine) => {
  it.each(Object.entries(reference.cases))("%s", async (name, { settings, losses: expected }) => {
    const model = await referenceModel({ ...settings, svd: "exact" });
    expect(await losses(model, { engine: engine() })).toBeAllClose(expected, { absolute: 0, relative: 1e-4 });
    const ours = model.trainable();
    const theirs = [...values].filter(([key]) => key.startsWith(`${name}.`));
    expect(Object.keys(ours)).toHaveLength(theirs.length);
    // The softmax does not see biases of keys: their gradient is rounding, which Adam makes steps of.
    for (const [key, { data }] of theirs.filter(([own]) => !own.endsWith("key.bias"))) {
      const tensor = ours[`default.${key.slice(name.length + 1)}`];
      expect(tensor?.data, key).toBeAllClose(data, { absolute: 1e-4, relative: 0 });
    }
  });
});

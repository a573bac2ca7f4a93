import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { narrow, SafetensorsFile, widen, writeSafetensors, type StoredTensor } from "@peftjs/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fromConfig, fromPretrained, savePretrained } from "../src/index.ts";
import { tinyConfig } from "./support/tinyConfig.ts";

const config = { ...tinyConfig, num_hidden_layers: 1 };

let dir: string;
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), "frozen-"))));
afterEach(() => rm(dir, { recursive: true }));

describe.each(["float32", "float16", "bfloat16"] as const)("a folder in %s", (saved) => {
  beforeEach(() => savePretrained(fromConfig(config, { head: "maskedLM", seed: 5 }), dir, { dtype: saved }));

  it("is held as asked for; `auto`: as it is", async () => {
    const wide = await fromPretrained(dir);
    for (const frozen of ["float32", "float16", "bfloat16", "auto"] as const) {
      const { parameters } = await fromPretrained(dir, { frozen });
      const held = frozen === "auto" ? saved : frozen;
      for (const [name, tensor] of parameters) {
        const values = wide.parameters.get(name) as StoredTensor;
        expect(tensor, `${frozen} ${name}`).toEqual(held === "float32" ? values : narrow(values, held));
        expect(tensor.data.BYTES_PER_ELEMENT).toBe(held === "float32" ? 4 : 2);
      }
      expect(parameters.get("cls.predictions.decoder.weight")).toBe(
        parameters.get("bert.embeddings.word_embeddings.weight"),
      );
    }
  });

  it("is saved in float32 unless another type is asked for", async () => {
    const model = await fromPretrained(dir, { frozen: "auto" });
    const copy = join(dir, "copy");
    await savePretrained(model, copy);
    const again = await fromPretrained(copy, { frozen: "auto" });
    for (const [name, tensor] of model.parameters) expect(again.parameters.get(name), name).toEqual(widen(tensor));
  });
});

it("draws what the file lacks in float32: it is to be trained", async () => {
  await savePretrained(fromConfig(config, { head: "none", seed: 5 }), dir, { dtype: "float16" });
  const { parameters } = await fromPretrained(dir, { frozen: "auto", labels: ["a", "b"] });
  expect(parameters.get("classifier.weight")?.dtype).toBe("float32");
  expect(parameters.get("bert.pooler.dense.weight")?.dtype).toBe("float16");
});

it("takes a file of several types as it is", async () => {
  await savePretrained(fromConfig(config, { head: "none", seed: 5 }), dir);
  const path = join(dir, "model.safetensors");
  const file = await SafetensorsFile.open(path);
  const tensors = new Map<string, StoredTensor>();
  for (const name of file.names) {
    const tensor = await file.tensor(name);
    tensors.set(name, name.endsWith(".bias") ? tensor : narrow(tensor, "bfloat16"));
  }
  await file.close();
  await writeSafetensors(path, tensors);
  const { parameters } = await fromPretrained(dir, { frozen: "auto", head: "none" });
  expect(parameters).toEqual(tensors);
});

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  float32,
  int32,
  openSafetensors,
  PeftError,
  writeSafetensors,
  type BaseModel,
  type HostTensor,
} from "@peftjs/core";
import type * as tf from "@tensorflow/tfjs-core";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { fromConfig, fromPretrained, savePretrained, type FromPretrainedOptions } from "../src/index.ts";
import { startCpu } from "./support/backend.ts";
import { bertEnc, inputE1, inputE2, robertaEnc } from "./support/inputs.ts";
import { ownNames, runModel } from "./support/plainForward.ts";

const fixtures = fileURLToPath(new URL("../../../fixtures/models/", import.meta.url));
const maskedFolder = join(fixtures, "bert-masked-lm");
const classifierFolder = join(fixtures, "roberta-classifier-bfloat16");

let dir = "";
beforeAll(startCpu);
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), "peftjs-models-"))));
afterEach(() => rm(dir, { recursive: true }));

const logits = (model: BaseModel, batch: Record<string, tf.Tensor>): Float32Array =>
  (runModel(model, batch)["logits"] as tf.Tensor).dataSync() as Float32Array;

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => new Error("nothing was thrown"),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(PeftError);
  return (error as PeftError).code;
}

/** Copies a model's file with other names, or without some. */
async function rewrite(
  from: string,
  rename: (name: string) => string | null,
  extra: Record<string, HostTensor> = {},
): Promise<string> {
  const file = await openSafetensors(from);
  const tensors = new Map(Object.entries(extra));
  for (const name of file.names) {
    const renamed = rename(name);
    if (renamed !== null) tensors.set(renamed, await file.tensor(name));
  }
  await file.close();
  await writeSafetensors(join(dir, "model.safetensors"), tensors);
  await writeFile(join(dir, "config.json"), readFileSync(join(from, "config.json")));
  return dir;
}

describe("fromPretrained", () => {
  it("reads a folder written by the Python library", async () => {
    const model = await fromPretrained(maskedFolder);
    expect(model.head).toEqual({ kind: "maskedLM" });
    expect(model.report).toMatchObject({ missing: [], unexpected: [], reinitialised: [] });
    const { cases } = JSON.parse(readFileSync(join(fixtures, "encoders.json"), "utf8")) as {
      cases: { family: string; head: string; outputs: Record<string, string> }[];
    };
    const packed = cases.find((entry) => entry.family === "bert" && entry.head === "maskedLM")?.outputs["logits"] ?? "";
    const expected = new Float32Array(new Uint8Array(Buffer.from(packed, "base64")).buffer);
    logits(model, inputE1()).forEach((value, i) =>
      expect(Math.abs(value - (expected[i] as number))).toBeLessThan(2e-5),
    );
    expect(model.parameters.get("cls.predictions.decoder.weight")).toBe(
      model.parameters.get("bert.embeddings.word_embeddings.weight"),
    );
  });

  it("widens bfloat16 and takes the labels from config.json", async () => {
    const model = await fromPretrained(classifierFolder);
    expect(model.head).toEqual({ kind: "sequenceClassification", labels: ["LABEL_0", "LABEL_1", "LABEL_2"] });
    const exact = [-0.318868, 0.375359, -1.106402, -0.480259, 0.404323, -0.916721];
    logits(model, inputE2()).forEach((value, i) => expect(Math.abs(value - (exact[i] as number))).toBeLessThan(0.05));
  });

  it("draws the head that a masked-LM file lacks from the seed, and says so", async () => {
    const options: FromPretrainedOptions = { labels: ["no", "yes"], seed: 3 };
    const [first, again, other] = await Promise.all([
      fromPretrained(maskedFolder, options),
      fromPretrained(maskedFolder, options),
      fromPretrained(maskedFolder, { ...options, seed: 4 }),
    ]);
    expect(first.report.missing).toEqual([
      "bert.pooler.dense.weight",
      "bert.pooler.dense.bias",
      "classifier.weight",
      "classifier.bias",
    ]);
    expect([...first.report.unexpected].sort()[0]).toBe("cls.predictions.bias");
    expect(first.headModules).toEqual(["classifier", "bert.pooler.dense"]);
    expect(logits(first, inputE1())).toEqual(logits(again, inputE1()));
    expect(logits(first, inputE1())).not.toEqual(logits(other, inputE1()));
    expect(first.configJson["id2label"]).toEqual({ 0: "no", 1: "yes" });
  });

  it("reads old names, a bare model's names and prefixed names as the same model", async () => {
    const expected = logits(await fromPretrained(maskedFolder), inputE1());
    const old = await rewrite(
      maskedFolder,
      (name) => name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"),
      {
        "bert.embeddings.position_ids": int32([0, 1, 2], [1, 3]),
      },
    );
    const gamma = await fromPretrained(old);
    expect(gamma.report.unexpected).toEqual([]);
    expect(logits(gamma, inputE1())).toEqual(expected);
    const bare = await fromPretrained(await rewrite(maskedFolder, (name) => name.replace(/^bert\./u, "")));
    expect(logits(bare, inputE1())).toEqual(expected);
    const stripped = await fromPretrained(maskedFolder, { head: "none" });
    expect(stripped.report.missing).toEqual(["pooler.dense.weight", "pooler.dense.bias"]);
    expect(stripped.parameters.get("embeddings.word_embeddings.weight")).toEqual(
      gamma.parameters.get("bert.embeddings.word_embeddings.weight"),
    );
  });

  it("takes the decoder's bias when it is the only one of the two", async () => {
    const model = await fromPretrained(
      await rewrite(maskedFolder, (name) => (name === "cls.predictions.bias" ? "cls.predictions.decoder.bias" : name)),
    );
    expect(model.report).toMatchObject({ missing: [], unexpected: [], reinitialised: [] });
    expect(logits(model, inputE1())).toEqual(logits(await fromPretrained(maskedFolder), inputE1()));
  });

  it("refuses a file without part of the trunk", async () => {
    const folder = await rewrite(maskedFolder, (name) => (name.includes("layer.1.output.dense") ? null : name));
    expect(await codeOf(fromPretrained(folder))).toBe("WEIGHTS_MISSING");
  });

  it("refuses another number of labels unless told to start afresh", async () => {
    expect(await codeOf(fromPretrained(classifierFolder, { numLabels: 2 }))).toBe("LABEL_COUNT_MISMATCH");
    expect(await codeOf(fromPretrained(classifierFolder, { head: "regression" }))).toBe("LABEL_COUNT_MISMATCH");
    const fresh = await fromPretrained(classifierFolder, { numLabels: 2, ignoreMismatchedSizes: true });
    expect(fresh.report.reinitialised).toEqual(["classifier.out_proj.weight", "classifier.out_proj.bias"]);
    expect(logits(fresh, inputE2()).length).toBe(4);
    expect(await codeOf(fromPretrained(classifierFolder, { numLabels: 2, labels: ["a", "b", "c"] }))).toBe(
      "LABELS_INVALID",
    );
  });

  it("names what is wrong with a folder", async () => {
    expect(await codeOf(fromPretrained(join(dir, "nowhere")))).toBe("FILE_NOT_FOUND");
    await writeFile(join(dir, "config.json"), '{"model_type": "bort"}');
    expect(await codeOf(fromPretrained(dir))).toBe("ARCHITECTURE_UNKNOWN");
    await writeFile(join(dir, "config.json"), '{"model_type": "bert", "position_embedding_type": "relative_key"}');
    expect(await codeOf(fromPretrained(dir))).toBe("CONFIG_INVALID");
    await writeFile(join(dir, "config.json"), JSON.stringify({ ...bertEnc, hidden_size: 9 }));
    expect(await codeOf(fromPretrained(dir))).toBe("CONFIG_INVALID");
    await writeFile(join(dir, "config.json"), JSON.stringify(bertEnc));
    expect(await codeOf(fromPretrained(dir))).toBe("FILE_NOT_FOUND");
    await rewrite(maskedFolder, (name) => name);
    await writeFile(join(dir, "config.json"), JSON.stringify({ ...bertEnc, vocab_size: 21 }));
    expect(await codeOf(fromPretrained(dir))).toBe("SHAPE_MISMATCH");
  });
});

describe("savePretrained", () => {
  it.each(["float32", "float16", "bfloat16"] as const)("save, load, save is byte-identical as %s", async (dtype) => {
    const model = fromConfig(robertaEnc, { head: "maskedLM", seed: 5 });
    await savePretrained(model, join(dir, "a"), { dtype });
    const loaded = await fromPretrained(join(dir, "a"));
    expect(loaded.report).toMatchObject({ missing: [], unexpected: [], reinitialised: [] });
    await savePretrained(loaded, join(dir, "b"), { dtype });
    for (const file of ["model.safetensors", "config.json"]) {
      expect(await readFile(join(dir, "b", file))).toEqual(await readFile(join(dir, "a", file)));
    }
    if (dtype === "float32")
      for (const [name, tensor] of model.parameters)
        expect(loaded.parameters.get(name)?.data, name).toEqual(tensor.data);
  });

  it("writes what the Python library writes", async () => {
    await savePretrained(await fromPretrained(maskedFolder), dir);
    expect(await readFile(join(dir, "model.safetensors"))).toEqual(
      await readFile(join(maskedFolder, "model.safetensors")),
    );
    const config = JSON.parse(await readFile(join(dir, "config.json"), "utf8")) as Record<string, unknown>;
    expect(config).toMatchObject({
      architectures: ["BertForMaskedLM"],
      model_type: "bert",
      torch_dtype: "float32",
      hidden_size: 8,
    });
  });

  it("keeps unknown keys of config.json and tells of labels and regression", async () => {
    await savePretrained(
      fromConfig({ ...robertaEnc, made_with: { tool: 1 } }, { labels: ["no", "yes"] }),
      join(dir, "a"),
    );
    const config = JSON.parse(await readFile(join(dir, "a", "config.json"), "utf8")) as Record<string, unknown>;
    expect(config).toMatchObject({
      made_with: { tool: 1 },
      id2label: { 0: "no", 1: "yes" },
      label2id: { no: 0, yes: 1 },
    });
    await savePretrained(fromConfig(robertaEnc, { head: "regression" }), join(dir, "b"));
    expect((await fromPretrained(join(dir, "b"))).head).toEqual({ kind: "regression" });
  });

  it("says so when the decoder no longer shares the word embeddings", async () => {
    const model = fromConfig(bertEnc, { head: "maskedLM" });
    const words = model.parameters.get("bert.embeddings.word_embeddings.weight") as HostTensor;
    model.parameters.set(
      "bert.embeddings.word_embeddings.weight",
      float32(
        Float32Array.from(words.data, (value) => value + 1),
        words.shape,
      ),
    );
    await savePretrained(model, dir);
    const loaded = await fromPretrained(dir);
    expect(loaded.configJson["tie_word_embeddings"]).toBe(false);
    expect(logits(loaded, inputE1())).toEqual(logits(model, inputE1()));
  });
});

describe("fromConfig", () => {
  it("draws weights from the seed with the configured deviation, padding rows zero", () => {
    const config = { ...robertaEnc, vocab_size: 400, hidden_size: 64 };
    const model = fromConfig(config, { head: "none", seed: 1 });
    const words = model.parameters.get("embeddings.word_embeddings.weight")?.data as Float32Array;
    const variance = words.reduce((sum, value) => sum + value * value, 0) / (399 * 64);
    expect(Math.sqrt(variance)).toBeGreaterThan(0.0195);
    expect(Math.sqrt(variance)).toBeLessThan(0.0205);
    expect(words.subarray(64, 128).every((value) => value === 0)).toBe(true);
    expect(
      fromConfig(config, { head: "none", seed: 1 }).parameters.get("embeddings.word_embeddings.weight")?.data,
    ).toEqual(words);
    expect(
      fromConfig(config, { head: "none", seed: 2 }).parameters.get("embeddings.word_embeddings.weight")?.data,
    ).not.toEqual(words);
    expect(model.parameters.get("encoder.layer.0.output.LayerNorm.weight")?.data.every((value) => value === 1)).toBe(
      true,
    );
    expect(model.parameters.get("pooler.dense.bias")?.data.every((value) => value === 0)).toBe(true);
    expect(ownNames(model).length).toBe(model.parameters.size);
  });
});

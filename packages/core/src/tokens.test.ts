import { gradientCheck, installMatchers, tol } from "@peftjs/testkit";
import type * as tf from "@tensorflow/tfjs-core";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { added, BATCH, fill, logits, tensors, tinyModel } from "../test/tiny.ts";
import {
  float32,
  loadAdapter,
  MethodRegistry,
  openSafetensors,
  peft,
  PeftModel,
  saveAdapter,
  type BaseModel,
  type HostTensor,
} from "./index.ts";

installMatchers();

const KEY = "default.body.embed.tokenRows";
const rowsOf = (tensor: HostTensor, ids: readonly number[]): number[] =>
  ids.flatMap((id) => [...tensor.data.slice(4 * id, 4 * id + 4)]);
const model = (ids: readonly number[] | Record<string, readonly number[]> = [3, 1]): Promise<PeftModel> =>
  peft(tinyModel()).use(added, { trainableTokenIndices: ids }).apply();
/** The base model with other rows in the table, which the decoder shares. */
function edited(ids: readonly number[], rows: HostTensor): BaseModel {
  const base = tinyModel();
  const table = base.parameters.get("body.embed.weight") as HostTensor;
  const data = Float32Array.from(table.data);
  ids.forEach((id, row) => data.set(rows.data.slice(4 * row, 4 * row + 4), 4 * id));
  for (const name of ["body.embed.weight", "decoder.weight"]) base.parameters.set(name, float32(data, table.shape));
  base.parameters.set("decoder.weight", base.parameters.get("body.embed.weight") as HostTensor);
  return base;
}

describe("trained token rows", () => {
  it("start as the table's own, and stand for them in every table that shares them", async () => {
    const tuned = await model();
    const base = tuned.base.parameters.get("body.embed.weight") as HostTensor;
    expect([...(tuned.trainable()[KEY] as HostTensor).data]).toEqual(rowsOf(base, [3, 1]));
    expect(logits(tuned)).toBeAllClose(logits(new PeftModel(tinyModel())), tol.exact);
    expect(Object.keys(tuned.trainable())).not.toContain("default.body.embed.weight");
    const rows = float32([1, 2, 3, 4, -1, -2, -3, -4], [2, 4]);
    tuned.setTrainable({ [KEY]: rows });
    // The tied table's mean enters the logits, so that this shows in both places.
    const expected = logits(new PeftModel(edited([3, 1], rows)));
    expect(logits(tuned)).toBeAllClose(expected);
    expect(expected).not.toBeAllClose(logits(new PeftModel(tinyModel())), { absolute: 0.1, relative: 0 });
    expect(tuned.disable(() => logits(tuned))).toBeAllClose(logits(new PeftModel(tinyModel())), tol.exact);
  });

  it("have the gradient that finite differences have", async () => {
    const tuned = await model({ embed: [4, 0] });
    fill(tuned, 5);
    const { [KEY]: rows, ...others } = tensors(tuned.trainable());
    const frozen = tensors(tuned.frozen());
    gradientCheck(
      (value) =>
        tuned.loss({ frozen, trainable: { ...others, [KEY]: value as tf.Tensor } }, BATCH, { training: false }),
      [rows as tf.Tensor],
    );
  });

  it("merge into the shared table, which stays shared, and come out bit for bit", async () => {
    const tuned = await model();
    fill(tuned, 6);
    const adapted = logits(tuned);
    const merged = tuned.mergeAndUnload({ safe: true });
    expect(merged.parameters.get("decoder.weight")).toBe(merged.parameters.get("body.embed.weight"));
    expect(logits(new PeftModel(merged))).toBeAllClose(adapted);
    tuned.merge();
    expect(logits(tuned)).toBeAllClose(adapted);
    tuned.unmerge();
    expect(logits(tuned)).toBeAllClose(adapted, tol.exact);
    expect(tuned.frozen()["body.embed.weight"]).toBe(tuned.base.parameters.get("body.embed.weight"));
    tuned.setTrainable({ [KEY]: float32([NaN, 0, 0, 0, 0, 0, 0, 0], [2, 4]) });
    expect(() => tuned.merge({ safe: true })).toThrow(expect.objectContaining({ code: "MERGE_NOT_FINITE" }));
  });

  it("of the adapter named last count where two train the same token; a mixed batch keeps them apart", async () => {
    const tuned = new PeftModel(tinyModel());
    for (const [name, ids] of [
      ["one", [3, 1]],
      ["two", [1, 4]],
    ] as const)
      await tuned.attach({ name, method: added, config: { trainableTokenIndices: ids, modulesToSave: [] } });
    const set = (name: string, value: number): void => {
      tuned.setActive(name);
      tuned.setTrainable({ [`${name}.body.embed.tokenRows`]: float32(new Float32Array(8).fill(value), [2, 4]) });
    };
    set("one", 1);
    set("two", 2);
    tuned.setActive(["one", "two"]);
    const expected = edited([3, 1, 4], float32([1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2], [3, 4]));
    expect(logits(tuned)).toBeAllClose(logits(new PeftModel(expected)));
    expect(logits(new PeftModel(tuned.mergeAndUnload()))).toBeAllClose(logits(tuned));
  });

  it("cannot be active beside an adapter of the whole table", async () => {
    const tuned = await model();
    await tuned.attach({ name: "table", method: added, config: { targetModules: ["embed"] } });
    expect(() => tuned.setActive(["default", "table"])).toThrow(
      /The adapter "default" trains rows of "body.embed", which "table" changes as a whole/u,
    );
    expect(() => tuned.setActive(["table"])).not.toThrow();
  });

  it("are refused for ids and modules that do not exist", async () => {
    const invalid = async (config: object, message: RegExp): Promise<void> => {
      await expect(peft(tinyModel()).use(added, config).apply()).rejects.toThrow(message);
    };
    await invalid({ trainableTokenIndices: [5] }, /5 is no row of "body.embed", which has rows 0 to 4/u);
    await invalid({ trainableTokenIndices: [1, 1] }, /Token 1 is named twice/u);
    await invalid({ trainableTokenIndices: [] }, /No token is named/u);
    await invalid({ trainableTokenIndices: { embde: [1] } }, /no such embedding. Did you mean "embed"/u);
    await invalid({ trainableTokenIndices: [1], targetModules: ["embed"] }, /adapted or trained as a whole/u);
    await invalid({ trainableTokenIndices: [1], modulesToSave: ["embed"] }, /adapted or trained as a whole/u);
  });

  it("are saved under Python's name and read again", async () => {
    const dir = mkdtempSync(join(tmpdir(), "peftjs-tokens-"));
    try {
      const tuned = await model();
      fill(tuned, 7);
      await saveAdapter(tuned, { dir });
      const file = await openSafetensors(join(dir, "adapter_model.safetensors"));
      const name = "base_model.model.body.embed.token_adapter.trainable_tokens_delta";
      expect(file.names).toContain(name);
      expect((await file.tensor(name)).shape).toEqual([2, 4]);
      await file.close();
      const json = JSON.parse(readFileSync(join(dir, "adapter_config.json"), "utf8")) as Record<string, unknown>;
      expect(json["trainable_token_indices"]).toEqual([3, 1]);
      const again = new PeftModel(tinyModel());
      await loadAdapter(again, { dir, methods: new MethodRegistry().use(added) });
      expect(logits(again)).toBeAllClose(logits(tuned), tol.exact);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});

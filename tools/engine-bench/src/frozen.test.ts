import { isInt8 } from "@peftjs/core";
import { describe, expect, it } from "vitest";
import type { Case } from "./cases.ts";
import { adaptedModel } from "./task.ts";

const sizes = { layers: 2, hidden: 16, heads: 2, vocabulary: 40, batch: 2, length: 6 };
const heldOf = async (task: Pick<Case, "model" | "frozen">): Promise<Record<string, number | string>> => {
  const { base } = await adaptedModel({ name: "", method: "lora", ...sizes, ...task });
  return Object.fromEntries(
    [...base.parameters]
      .filter(([, { dtype }]) => dtype !== "float32")
      .map(([name, tensor]) => [name, isInt8(tensor) ? `${tensor.axis} ${tensor.backward}` : tensor.dtype]),
  );
};
const blocks = (prefix: string, layers: readonly string[]): string[] =>
  [0, 1].flatMap((i) => layers.map((layer) => `${prefix}.${i}.${layer}.weight`));

describe("frozen weights of a case", () => {
  it("are the encoder's matrices, stored [out, in]", async () => {
    const held = await heldOf({ model: "encoder", frozen: "int8" });
    const layers = ["query", "key", "value"].map((name) => `attention.self.${name}`);
    layers.push("attention.output.dense", "intermediate.dense", "output.dense");
    expect(Object.keys(held)).toEqual(expect.arrayContaining(blocks("bert.encoder.layer", layers)));
    expect(Object.keys(held).filter((name) => /embeddings|LayerNorm|bias|classifier/.test(name))).toEqual([]);
    expect(new Set(Object.values(held))).toEqual(new Set(["0 int8"]));
    expect(await heldOf({ model: "encoder" })).toEqual({});
  });

  it("are the decoder's matrices, stored [in, out], and its table of words if asked for", async () => {
    const names = blocks("transformer.h", ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]);
    const matrices = (how: string): object => Object.fromEntries(names.map((name) => [name, how]));
    expect(await heldOf({ model: "decoder", frozen: "int8" })).toEqual(matrices("1 int8"));
    expect(await heldOf({ model: "decoder", frozen: "int8-forward" })).toEqual(matrices("1 float32"));
    const words = await heldOf({ model: "decoder", frozen: "int8-words" });
    expect(words).toMatchObject({ ...matrices("1 int8"), "transformer.wte.weight": "0 int8" });
    expect(await heldOf({ model: "decoder", frozen: "bfloat16" })).toMatchObject(matrices("bfloat16"));
  });
});

import * as tf from "@tensorflow/tfjs-core";
import { installMatchers, tol } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { added, logits, tinyModel } from "../test/tiny.ts";
import { defineMethod, float32, listTargets, peft, PeftModel, PROMPT, targetFields } from "./index.ts";
import type { BaseModel, HostTensor, LayerSite, Method, VirtualTokens } from "./index.ts";

installMatchers();

/** The tiny model with a place for virtual tokens: its logits grow by the sum of all that stands there. */
function prompted(): BaseModel & { readonly seen: VirtualTokens[] } {
  const base = tinyModel();
  const [embedding] = base.sites as [LayerSite];
  const prompt = { blocks: 2, heads: 2, keyValueHeads: 1, keyValueFeatures: 2 };
  const seen: VirtualTokens[] = [];
  return {
    ...base,
    seen,
    sites: [{ ...embedding, path: PROMPT, kind: "prompt", role: PROMPT, prompt }, ...base.sites],
    forward(f, batch) {
      const tokens = f.virtualTokens();
      seen.push(tokens);
      const sums = [tokens.embeddings, tokens.keysValues].flatMap((part) => (part === null ? [] : [tf.sum(part)]));
      const own = base.forward(f, batch)["logits"] as tf.Tensor;
      return { logits: sums.reduce<tf.Tensor>((y, sum) => tf.add(y, sum), own) };
    },
  };
}

/** Numbers in front: word embeddings [n, 4], and where asked for keys and values [2, 2, n, 2]. */
function numbers({ keysValues = false, value = 1 } = {}): Method {
  return defineMethod({
    name: keysValues ? "keys" : "numbers",
    description: "Numbers.",
    package: "@peftjs/core",
    config: z.strictObject({ n: z.int().default(1) }),
    wire: { peftType: "NUMBERS", config: { n: "n" }, tensors: { table: "prompt_embeddings" } },
    capabilities: { merge: false, multiAdapter: true, identityAtStart: false },
    targets: () => z.object(targetFields).parse({ targetRoles: [PROMPT] }),
    init: ({ config: { n } }) => ({ params: { table: float32(new Float32Array(8 * n).fill(value), [n, 8]) } }),
    virtualTokens: ({ params, config: { n } }) => {
      const table = params["table"] as tf.Tensor2D;
      return keysValues
        ? { keysValues: tf.reshape(table, [2, 2, n, 2]) }
        : { embeddings: tf.slice(table, [0, 0], [n, 4]) };
    },
  }) as unknown as Method;
}

describe("virtual tokens", () => {
  it("are what active adapters say, one after another, and nothing without them", async () => {
    const base = prompted();
    const bare = logits(new PeftModel(base));
    expect(base.seen.pop()).toEqual({ embeddings: null, keysValues: null });
    const model = await peft(base)
      .use(numbers(), { n: 2 })
      .use(numbers({ value: 3 }), { n: 1 }, { name: "second" })
      .use(numbers({ keysValues: true }), { n: 1 }, { name: "third" })
      .apply();
    expect(logits(model)).toBeAllClose(Array.from(bare, (value) => value + 8 + 12 + 8));
    const { embeddings, keysValues } = base.seen.pop() as VirtualTokens;
    expect([embeddings?.shape, keysValues?.shape]).toEqual([
      [3, 4],
      [2, 2, 1, 2],
    ]);
    model.setActive("second");
    expect(logits(model)).toBeAllClose(Array.from(bare, (value) => value + 12));
    expect(model.disable(() => logits(model))).toBeAllClose(bare, tol.exact);
    expect(Object.keys(model.trainable())).toContain("second.prompt.table");
  });

  it("stand at a place that no name and no pattern means", () => {
    const base = prompted();
    for (const targetModules of ["all-linear", ".*", "prompt|.*query"])
      expect(listTargets(base, { targetModules })).not.toContain(PROMPT);
    expect(() => listTargets(base, { targetModules: [PROMPT] })).toThrow(/No layer matches/u);
    expect(listTargets(base, { targetRoles: [PROMPT] })).toEqual([PROMPT]);
    expect(() => listTargets(tinyModel(), { targetRoles: [PROMPT] })).toThrow(/No layer matches/u);
  });

  it("belong to methods that have some", async () => {
    const attached = peft(prompted())
      .use(added, { targetRoles: [PROMPT] })
      .apply();
    await expect(attached).rejects.toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  });

  it("leave the table that their start was read from to others", async () => {
    const model = await peft(prompted())
      .use(numbers())
      .use(added, { targetModules: ["query"], trainableTokenIndices: [1] }, { name: "rows" })
      .apply();
    expect(model.active).toEqual(["default", "rows"]);
    expect(Object.keys(model.trainable())).toContain("rows.body.embed.tokenRows");
  });

  it("cannot be merged, while adapters beside them can", async () => {
    const model = await peft(prompted()).use(numbers()).use(added, {}, { name: "layers" }).apply();
    expect(() => model.merge()).toThrow(expect.objectContaining({ code: "MERGE_UNSUPPORTED" }));
    const rows = model.trainable()["layers.body.layer.0.query.b"] as HostTensor;
    model.setTrainable({
      "layers.body.layer.0.query.b": float32(rows.data.map((_, i) => i) as Float32Array, rows.shape),
    });
    const expected = logits(model);
    model.merge({ adapters: ["layers"] });
    expect(logits(model)).toBeAllClose(expected);
  });
});

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { fromBfloat16 } from "../test/safetensors.ts";
import { added, fill, logits, tinyModel } from "../test/tiny.ts";
import {
  float32,
  int32,
  narrow,
  peft,
  PeftModel,
  SafetensorsFile,
  widen,
  writeSafetensors,
  type BaseModel,
  type HalfType,
  type InitContext,
  type StoredTensor,
} from "./index.ts";
import { fromFloat16 } from "./safetensors/dtypes.ts";

const folder = await mkdtemp(join(tmpdir(), "halves-"));
afterAll(() => rm(folder, { recursive: true }));

const TYPES = ["float16", "bfloat16"] as const;
const everyPattern = (dtype: HalfType): StoredTensor => ({
  dtype,
  shape: [256, 256],
  data: Uint16Array.from({ length: 65_536 }, (_, bits) => bits),
});

describe.each(TYPES)("%s", (dtype) => {
  it("widens every pattern to its value, and back to itself", () => {
    const stored = everyPattern(dtype);
    const wide = widen(stored);
    const value = dtype === "float16" ? fromFloat16 : fromBfloat16;
    expect(wide.shape).toEqual([256, 256]);
    expect(wide.data.findIndex((number, i) => !Object.is(number, value(stored.data[i] as number)))).toBe(-1);
    const again = narrow(wide, dtype).data;
    expect(stored.data.findIndex((bits, i) => !Number.isNaN(wide.data[i]) && again[i] !== bits)).toBe(-1);
  });

  it("stays as it is in a file unless another type is asked for", async () => {
    const stored = narrow(float32([1, -2.5, 1e-3], [3]), dtype);
    const read = async (path: string): Promise<[string, StoredTensor, StoredTensor]> => {
      const file = await SafetensorsFile.open(path);
      const result = [file.info("x").dtype, await file.stored("x"), await file.tensor("x")] as const;
      await file.close();
      return [...result];
    };
    const [own, wide] = [join(folder, `${dtype}.own`), join(folder, `${dtype}.wide`)];
    await writeSafetensors(own, new Map([["x", stored]]));
    await writeSafetensors(wide, new Map([["x", stored]]), { dtype: "F32" });
    expect(await read(own)).toEqual([dtype === "float16" ? "F16" : "BF16", stored, widen(stored)]);
    expect(await read(wide)).toEqual(["F32", widen(stored), widen(stored)]);
    // The other half type goes through float32.
    const [other, fileType] = dtype === "float16" ? (["bfloat16", "BF16"] as const) : (["float16", "F16"] as const);
    await writeSafetensors(own, new Map([["x", stored]]), { dtype: fileType });
    expect((await read(own))[1]).toEqual(narrow(widen(stored), other));
  });
});

it("leaves other types as they are", () => {
  const [ids, half] = [int32([1], [1]), narrow(float32([1], [1]), "float16")];
  expect(widen(ids)).toBe(ids);
  expect(narrow(half, "float16")).toBe(half);
});

/** The same values, stored narrow and as float32; what is tied stays tied. */
function pair(dtype: HalfType): { readonly half: BaseModel; readonly wide: BaseModel } {
  const [half, wide] = [tinyModel(), tinyModel()];
  for (const base of [half, wide]) {
    const done = new Map<StoredTensor, StoredTensor>();
    for (const [name, tensor] of base.parameters) {
      const stored = narrow(tensor, dtype);
      if (!done.has(tensor)) done.set(tensor, base === half ? stored : widen(stored));
      base.parameters.set(name, done.get(tensor) as StoredTensor);
    }
  }
  return { half, wide };
}

describe.each(TYPES)("a base model in %s", (dtype) => {
  it("is frozen in two bytes a value; what learns is float32, the head's copy included", async () => {
    const { half, wide } = pair(dtype);
    const [model, expected] = await Promise.all([half, wide].map((base) => peft(base).use(added).apply()));
    for (const [key, { dtype: type, data }] of Object.entries(model!.frozen())) {
      expect(type, key).toBe(dtype);
      expect(data.byteLength, key).toBe(2 * data.length);
    }
    expect(model!.trainable()).toEqual(expected!.trainable());
    expect(Object.keys(model!.trainable())).toContain("default.classifier.weight");
    expect(model!.trainableReport()).toEqual(expected!.trainableReport());
    for (const each of [model!, expected!]) fill(each, 3);
    expect(logits(model!)).toEqual(logits(expected!));
  });

  it("gives a method's initialisation the values, and holds the weight that it makes of them in two bytes, too", async () => {
    const { half, wide } = pair(dtype);
    const seen: StoredTensor[] = [];
    const moving = {
      ...added,
      init: (context: InitContext<never>) => {
        seen.push(context.weight, context.bias as StoredTensor);
        const weight = float32(
          (context.weight.data as Float32Array).map((value) => value / 3),
          context.weight.shape,
        );
        return { ...added.init?.(context), weight } as never;
      },
    };
    const [model, expected] = [half, wide].map((base) => new PeftModel(base));
    for (const each of [model!, expected!]) await each.attach({ method: moving });
    const key = "default.body.layer.0.query.weight";
    expect(model!.frozen()[key]).toEqual(narrow(expected!.frozen()[key]!, dtype));
    expect(seen.slice(0, seen.length / 2)).toEqual(seen.slice(seen.length / 2));
    expect(seen[0]?.dtype).toBe("float32");
  });

  it("merges to float32 and keeps everything else as it is", async () => {
    const { half, wide } = pair(dtype);
    const [merged, expected] = await Promise.all(
      [half, wide].map(async (base) => {
        const model = await peft(base).use(added).apply();
        fill(model, 3);
        return model.mergeAndUnload();
      }),
    );
    const types = new Map([...merged!.parameters].map(([name, tensor]) => [name, tensor.dtype]));
    expect(types.get("body.layer.0.query.weight")).toBe("float32");
    expect(types.get("body.layer.1.value.weight")).toBe(dtype);
    for (const [name, tensor] of merged!.parameters)
      expect(widen(tensor), name).toEqual(expected!.parameters.get(name));
    expect(merged!.parameters.get("decoder.weight")).toBe(merged!.parameters.get("body.embed.weight"));
  });
});

it("is not rounded twice: a file of halves is the bytes that were read", async () => {
  const [first, second] = [join(folder, "a"), join(folder, "b")];
  await writeSafetensors(first, new Map([["x", everyPattern("bfloat16")]]));
  const file = await SafetensorsFile.open(first);
  await writeSafetensors(second, new Map([["x", await file.stored("x")]]));
  await file.close();
  expect((await readFile(second)).equals(await readFile(first))).toBe(true);
});

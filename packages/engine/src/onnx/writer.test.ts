import { fromBinary } from "@bufbuild/protobuf";
import { AttributeProto_AttributeType, ModelProtoSchema } from "onnx-buf";
import { expect, it } from "vitest";
import { ProgramEmitter } from "./emitter.ts";
import { Value } from "./graph.ts";
import type { LoweredGraph } from "./lower.ts";
import { writeModel } from "./writer.ts";

it("writes what a reader of onnx.proto understands", () => {
  const emit = new ProgramEmitter();
  const constant = emit.constant({
    type: "float32",
    shape: [2, 20],
    data: Float32Array.from({ length: 40 }, (_, i) => Math.sqrt(i)),
  });
  const minus = emit.scalar(-5, "int64");
  const result = emit.op("Test", ["in0", constant, minus], {
    domain: "com.microsoft",
    attributes: { f: -0.25, i: -(2n ** 40n), s: "größer", ints: [1n, -1n, 300n], floats: [0.5, -2], empty: [] },
  });
  const place = { group: "g", name: "n", value: new Value({ shape: [3, 0, 70_000], dtype: "bool" }) };
  const bytes = writeModel({
    emit,
    inputs: [{ ...place, onnxName: "in0" }],
    outputs: [{ ...place, onnxName: result }],
  } as unknown as LoweredGraph);

  const model = fromBinary(ModelProtoSchema, bytes);
  expect(model).toMatchObject({ irVersion: 9n, producerName: "peftjs" });
  expect(model.opsetImport.map(({ domain, version }) => [domain, version])).toEqual([
    ["", 18n],
    ["com.microsoft", 1n],
  ]);
  const [node] = model.graph?.node ?? [];
  expect(node).toMatchObject({
    opType: "Test",
    domain: "com.microsoft",
    input: ["in0", constant, minus],
    output: [result],
  });
  const types = AttributeProto_AttributeType;
  expect(node?.attribute.map(({ name, type }) => [name, type])).toEqual([
    ["f", types.FLOAT],
    ["i", types.INT],
    ["s", types.STRING],
    ["ints", types.INTS],
    ["floats", types.FLOATS],
    ["empty", types.INTS],
  ]);
  const [f, i, s, ints, floats] = node?.attribute ?? [];
  expect([f?.f, i?.i, new TextDecoder().decode(s?.s), ints?.ints, floats?.floats]).toEqual([
    -0.25,
    -(2n ** 40n),
    "größer",
    [1n, -1n, 300n],
    [0.5, -2],
  ]);
  const tensor = model.graph?.initializer.find(({ name }) => name === constant);
  expect(tensor).toMatchObject({ dims: [2n, 20n], dataType: 1 });
  expect(new Float32Array(Uint8Array.from(tensor?.rawData ?? []).buffer)[39]).toBe(Math.fround(Math.sqrt(39)));
  const type = model.graph?.input[0]?.type?.value;
  if (type?.case !== "tensorType") throw new Error("The input has no tensor type.");
  expect(type.value.elemType).toBe(9);
  expect(type.value.shape?.dim.map(({ value }) => value.value)).toEqual([3n, 0n, 70_000n]);
});

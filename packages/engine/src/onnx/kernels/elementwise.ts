import type { DType } from "@peftjs/core";
import { BINARY } from "./binary.ts";
import type { KernelCall, KernelDefinition } from "./definition.ts";
import { sameShape } from "../graph.ts";
import { broadcastShapes } from "./shapes.ts";
import { castTo, computed, widerType } from "./types.ts";
import { UNARY } from "./unary.ts";

const OTHER: readonly KernelDefinition[] = [
  {
    name: "Prelu",
    infer: (call) => [{ shape: broadcastShapes(call.input("x").shape, call.input("alpha").shape), dtype: "float32" }],
    lower: ({ call, args, emit, outputs }) => {
      const [x, alpha] = [call.input("x"), call.input("alpha")];
      const [values, slope] = args.map((arg, i) => castTo(emit, arg, [x, alpha][i]?.dtype ?? "float32", "float32")) as [
        string,
        string,
      ];
      // ONNX's operator broadcasts the slope only.
      if (sameShape(x.shape, outputs[0]?.shape ?? [])) return [emit.op("PRelu", [values, slope])];
      const below = emit.op("Less", [values, emit.scalar(0)]);
      return [emit.op("Where", [below, emit.op("Mul", [slope, values]), values])];
    },
  },
  {
    name: "EluGrad",
    infer: (call) => [call.input("y")],
    lower: ({ args, emit }) => {
      const [dy, y] = args as [string, string];
      const below = emit.op("Mul", [dy, emit.op("Add", [y, emit.scalar(1)])]);
      return [emit.op("Where", [emit.op("GreaterOrEqual", [y, emit.scalar(0)]), dy, below])];
    },
  },
  {
    name: "AddN",
    infer: ({ inputs: [first] }) => [first ?? { shape: [], dtype: "float32" }],
    lower: ({ call, args, emit }) => {
      const sum = (terms: readonly string[]): string =>
        terms.slice(1).reduce((total, term) => emit.op("Add", [total, term]), terms[0] as string);
      return [computed(emit, { from: call.inputs[0]?.dtype ?? "float32", accepts: "numbers" }, args, sum)];
    },
  },
  {
    name: "Select",
    infer: (call) => [{ shape: selectShape(call), dtype: widerType(call.input("t").dtype, call.input("e").dtype) }],
    lower: ({ call, args, emit, outputs }) => {
      const dtype = outputs[0]?.dtype as DType;
      const [condition, ...choices] = args as [string, string, string];
      const [t, e] = choices.map((arg, i) => castTo(emit, arg, call.input(i === 0 ? "t" : "e").dtype, dtype)) as [
        string,
        string,
      ];
      if (dtype !== "bool") return [emit.op("Where", [condition, t, e])];
      return [emit.cast(emit.op("Where", [condition, emit.cast(t, "uint8"), emit.cast(e, "uint8")]), "bool")];
    },
  },
  {
    name: "Cast",
    infer: (call) => [{ shape: call.input("x").shape, dtype: call.text("dtype") as DType }],
    lower: ({ call, args, emit }) => [emit.cast(args[0] as string, call.text("dtype") as DType)],
  },
];

function selectShape(call: KernelCall): number[] {
  const choices = broadcastShapes(call.input("t").shape, call.input("e").shape);
  return broadcastShapes(call.input("condition").shape, choices);
}

export const ELEMENTWISE: readonly KernelDefinition[] = [...UNARY, ...BINARY, ...OTHER];

/** Kernels whose result has the broadcast shape of `a` and `b`. */
export const BINARY_NAMES: ReadonlySet<string> = new Set(BINARY.map(({ name }) => name));

import type { DType } from "@peftjs/core";
import type { OnnxEmitter } from "../emitter.ts";

/** What an operator of ONNX Runtime's processor kernels computes in. */
export type Accepts = "floats" | "numbers" | "all";

interface Conversion {
  readonly from: DType;
  /** Type of the result; the operands' own if not given. */
  readonly to?: DType | undefined;
  readonly accepts: Accepts;
}

/**
 * Runs `write` in a type that the operator knows: bool counts as 0 and 1, and int32 goes through float32 (exact below 2²⁴) where the
 * operator is one of floats. `writes` is the type of what it returns, if not the one it computes in.
 */
export function computed(
  emit: OnnxEmitter,
  { from, to = from, accepts }: Conversion,
  args: readonly string[],
  write: (args: readonly string[]) => string,
  writes?: DType,
): string {
  const type = computedType(from, accepts);
  return castTo(emit, write(args.map((arg) => castTo(emit, arg, from, type))), writes ?? type, to);
}

export function computedType(from: DType, accepts: Accepts): DType {
  if (accepts === "all") return from;
  return accepts === "floats" || from === "float32" ? "float32" : "int32";
}

/** A cast, where one is needed. tfjs truncates on the way from float32 to bool. */
export function castTo(emit: OnnxEmitter, name: string, from: DType, to: DType): string {
  if (from === to) return name;
  return emit.cast(from === "float32" && to === "bool" ? emit.cast(name, "int32") : name, to);
}

const ORDER: readonly DType[] = ["bool", "int32", "float32"];

/** The type that holds values of both. */
export function widerType(a: DType, b: DType): DType {
  return ORDER[Math.max(ORDER.indexOf(a), ORDER.indexOf(b))] as DType;
}

import { PeftError } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import type { KernelDefinition } from "./kernels/definition.ts";
import { KERNELS, setKernel } from "./kernels/registry.ts";
import { registerTraceKernel, TRACE_BACKEND } from "./trace/backend.ts";

export interface RegisterLoweringOptions {
  /** Take the place of the kernel's lowering if it has one. */
  readonly replace?: boolean;
}

/** Lowerings of one kernel that were replaced, the oldest first. */
const replaced = new Map<string, KernelDefinition[]>();

/**
 * Teaches the compiled engine a kernel: one of your own, which `tf.engine().runKernel` calls, or one of tfjs's that it does not
 * know. It holds for every program that is built from now on, also by engines that are open already; programs that exist stay.
 *
 * The eager engine takes the kernel from tfjs (`tf.registerKernel`), and the gradient belongs to tfjs too (`tf.customGrad`,
 * `tf.registerGradient`): it is traced like everything else.
 *
 * @returns A function that takes the lowering away again; what it replaced is back then.
 * @throws PeftError `LOWERING_EXISTS` when the kernel has a lowering and `replace` is not set, `LOWERING_INVALID` when the
 *   definition lacks its name, `infer` or `lower`.
 */
export function registerLowering(definition: KernelDefinition, options: RegisterLoweringOptions = {}): () => void {
  check(definition);
  const { name } = definition;
  const former = KERNELS.get(name);
  if (former !== undefined) {
    if (options.replace !== true) {
      throw new PeftError(
        "LOWERING_EXISTS",
        `Kernel ${name} has a lowering already. Choose another name, or replace it: registerLowering(definition, { replace: true }).`,
      );
    }
    replaced.set(name, [...(replaced.get(name) ?? []), former]);
  }
  setKernel(name, definition);
  registerTraceKernel(name);
  return () => remove(definition);
}

function remove(definition: KernelDefinition): void {
  const { name } = definition;
  const below = replaced.get(name) ?? [];
  if (KERNELS.get(name) !== definition) {
    // It was replaced itself, or is gone already: it must not come back.
    replaced.set(
      name,
      below.filter((other) => other !== definition),
    );
    return;
  }
  const former = below.at(-1) ?? null;
  replaced.set(name, below.slice(0, -1));
  setKernel(name, former);
  // Without a kernel, operations that ask tfjs for it go back to what they are made of.
  if (former === null) tf.unregisterKernel(name, TRACE_BACKEND);
}

function check(definition: KernelDefinition): void {
  const { name, infer, lower } = definition as Partial<KernelDefinition>;
  const missing = [
    ...(typeof name === "string" && name !== "" ? [] : ["name"]),
    ...(typeof infer === "function" ? [] : ["infer"]),
    ...(typeof lower === "function" ? [] : ["lower"]),
  ];
  if (missing.length === 0) return;
  throw new PeftError(
    "LOWERING_INVALID",
    `The lowering of kernel ${String(name)} lacks ${missing.join(" and ")}. It needs a name, infer(call) and lower({ call, args, outputs, emit }).`,
  );
}

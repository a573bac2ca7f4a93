import type { TensorRunner } from "@peftjs/core";

type Program = ReturnType<TensorRunner["compile"]>;

const programs = new WeakMap<TensorRunner, Map<string, Program>>();

/** A tensor function compiled once per runner, and not once per matrix and refresh. `name` says all that `fn` depends on. */
export function programOf(runner: TensorRunner, name: string, fn: Parameters<TensorRunner["compile"]>[0]): Program {
  const own = programs.get(runner) ?? new Map<string, Program>();
  programs.set(runner, own);
  const program = own.get(name) ?? runner.compile(fn);
  own.set(name, program);
  return program;
}

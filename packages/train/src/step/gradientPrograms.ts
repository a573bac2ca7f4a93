import type { CompiledFunction, Counters, Engine } from "@peftjs/engine";
import type { GradientFunctions } from "./step.ts";

export type GradientProgram = keyof GradientFunctions;

/** The programs of a step that contain its backward pass, by the first block that they compute gradients for. */
export class GradientPrograms {
  readonly #engine: Engine;
  readonly #functions: (from: number) => GradientFunctions;
  readonly #returnMemory: boolean;
  readonly #programs = new Map<string, CompiledFunction>();

  constructor(
    engine: Engine,
    options: { readonly functions: (from: number) => GradientFunctions; readonly returnMemory: boolean },
  ) {
    this.#engine = engine;
    this.#functions = options.functions;
    this.#returnMemory = options.returnMemory;
  }

  /** Made when it is first needed. */
  get(name: GradientProgram, from: number): CompiledFunction {
    const key = `${name} ${from}`;
    const known = this.#programs.get(key);
    if (known !== undefined) return known;
    // A whole step holds what it returns anyway.
    const returnMemory = this.#returnMemory && (name === "gradients" || name === "sketch");
    const program = this.#engine.compile(this.#functions(from)[name], { constant: ["frozen", "scales"], returnMemory });
    this.#programs.set(key, program);
    return program;
  }

  /** Programs built and run so far, of one kind. */
  counters(name: GradientProgram): Counters {
    const all = [...this.#programs].filter(([key]) => key.startsWith(`${name} `)).map(([, { counters }]) => counters);
    const sum = (field: keyof Counters): number => all.reduce((total, counters) => total + counters[field], 0);
    return {
      programsBuilt: sum("programsBuilt"),
      programsEvicted: sum("programsEvicted"),
      runs: sum("runs"),
      traceMilliseconds: sum("traceMilliseconds"),
      openMilliseconds: sum("openMilliseconds"),
    };
  }

  async dispose(): Promise<void> {
    await Promise.all([...this.#programs.values()].map((program) => program.dispose()));
  }
}

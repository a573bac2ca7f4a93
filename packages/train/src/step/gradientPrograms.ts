import type { CompiledFunction, Counters, Engine } from "@peftjs/engine";
import type { GradientFunctions } from "./step.ts";

export type GradientProgram = keyof GradientFunctions;

export interface GradientProgramsOptions {
  readonly functions: (from: number) => GradientFunctions;
  /** Whether no program holds memory between its runs. */
  readonly returnMemory: boolean;
  /** Whether most steps are whole, and only those that refresh a rule are run in two. */
  readonly refreshes: boolean;
}

/** The programs of a step that contain its backward pass, by the first block that they compute gradients for. */
export class GradientPrograms {
  readonly #engine: Engine;
  readonly #options: GradientProgramsOptions;
  readonly #programs = new Map<string, CompiledFunction>();

  constructor(engine: Engine, options: GradientProgramsOptions) {
    this.#engine = engine;
    this.#options = options;
  }

  /** Made when it is first needed. */
  get(name: GradientProgram, from: number): CompiledFunction {
    const key = `${name} ${from}`;
    const known = this.#programs.get(key);
    if (known !== undefined) return known;
    // What runs now and then does not hold its memory in between.
    const returnMemory =
      this.#options.returnMemory || name === "sketch" || (this.#options.refreshes && name === "gradients");
    const program = this.#engine.compile(this.#options.functions(from)[name], {
      constant: ["frozen", "scales"],
      returnMemory,
    });
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

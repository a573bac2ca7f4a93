import type { CompiledFunction, Engine } from "@peftjs/engine";

/** What it took so far to make an engine's programs, of all its functions. */
export interface Preparation {
  readonly traceMilliseconds: number;
  readonly openMilliseconds: number;
}

/** The engine, and a count of what it prepares. */
export function counted(engine: Engine): { readonly engine: Engine; readonly preparation: () => Preparation } {
  const functions: CompiledFunction[] = [];
  const sum = (field: keyof Preparation): number =>
    functions.reduce((total, { counters }) => total + counters[field], 0);
  return {
    engine: {
      ...{ name: engine.name, device: engine.device, backend: engine.backend },
      compile: (fn, options) => {
        const compiled = engine.compile(fn, options);
        functions.push(compiled);
        return compiled;
      },
    },
    preparation: () => ({ traceMilliseconds: sum("traceMilliseconds"), openMilliseconds: sum("openMilliseconds") }),
  };
}

import { createGenerator, type BaseModel, type StoredTensor } from "@peftjs/core";
import { resolveHead, withHead, type HeadOptions } from "./head.ts";
import { initialise } from "./init.ts";
import { frozenPlan, heldAs, inOrder, type Frozen } from "./io/frozen.ts";
import { hold } from "./io/hold.ts";
import { createModel, layoutOf, ownParameters } from "./model.ts";
import { architectureOf, builtInArchitectures, type ArchitectureRegistry } from "./registry.ts";

export interface FromConfigOptions extends HeadOptions {
  /** Seed of the random weights. */
  readonly seed?: number;
  /** How weights are held in memory, as by `fromPretrained`. Default: float32. */
  readonly frozen?: Frozen;
  /** Written to `base_model_name_or_path`. */
  readonly name?: string;
  readonly architectures?: ArchitectureRegistry;
}

/**
 * A model with random weights: linear layers and tables N(0, initializer_range²), biases 0, norms 1 and 0, padding rows 0.
 * Parameters are drawn in the order of `Architecture.parameters` (normalisations, of which nothing is drawn, may come before), each
 * filled row by row, and held as `frozen` says before the next one is drawn.
 * @throws PeftError as `frozenPlan`.
 */
export function fromConfig(configJson: Readonly<Record<string, unknown>>, options: FromConfigOptions = {}): BaseModel {
  const architecture = architectureOf(configJson, options.architectures ?? builtInArchitectures);
  const head = resolveHead(configJson, options);
  const layout = layoutOf(architecture, configJson, head);
  const plan = frozenPlan(options.frozen ?? "float32", layout);
  const generator = createGenerator(options.seed ?? 0);
  const parameters = new Map<string, StoredTensor>();
  for (const spec of inOrder(plan, ownParameters(layout.specs))) {
    const { name } = spec;
    parameters.set(name, hold(initialise(spec, generator), { name, held: heldAs(plan, spec), parameters }));
  }
  return createModel({
    architecture,
    configJson: withHead(configJson, head),
    head,
    name: options.name ?? "",
    parameters,
  });
}

import { createGenerator, type BaseModel } from "@peftjs/core";
import { resolveHead, withHead, type HeadOptions } from "./head.ts";
import { initialise } from "./init.ts";
import { createModel, ownParameters } from "./model.ts";
import { architectureOf, builtInArchitectures, type ArchitectureRegistry } from "./registry.ts";

export interface FromConfigOptions extends HeadOptions {
  /** Seed of the random weights. */
  readonly seed?: number;
  /** Written to `base_model_name_or_path`. */
  readonly name?: string;
  readonly architectures?: ArchitectureRegistry;
}

/**
 * A model with random weights: linear layers and tables N(0, initializer_range²), biases 0, norms 1 and 0, padding rows 0.
 * Parameters are drawn in the order of `Architecture.parameters`, each filled row by row.
 */
export function fromConfig(configJson: Readonly<Record<string, unknown>>, options: FromConfigOptions = {}): BaseModel {
  const architecture = architectureOf(configJson, options.architectures ?? builtInArchitectures);
  const head = resolveHead(configJson, options);
  const specs = ownParameters(architecture.parameters(architecture.parseConfig(configJson), head));
  const generator = createGenerator(options.seed ?? 0);
  const parameters = new Map(specs.map((spec) => [spec.name, initialise(spec, generator)]));
  return createModel({
    architecture,
    configJson: withHead(configJson, head),
    head,
    name: options.name ?? "",
    parameters,
  });
}

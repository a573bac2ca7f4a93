import { PeftError, type Architecture } from "@peftjs/core";
import { bert } from "./bert/bert.ts";
import { roberta, robertaPreLayerNorm, xlmRoberta } from "./roberta/roberta.ts";

/** Architectures by `model_type`. */
export type ArchitectureRegistry = ReadonlyMap<string, Architecture>;

/** A registry of the given architectures; a later one replaces an earlier one of the same type. */
export function architectureRegistry(...architectures: readonly Architecture[]): ArchitectureRegistry {
  return new Map(architectures.map((architecture) => [architecture.modelType, architecture]));
}

/** The families of this package: `architectureRegistry(...builtInArchitectures.values(), mine)` adds to them. */
export const builtInArchitectures: ArchitectureRegistry = /* @__PURE__ */ architectureRegistry(
  bert,
  roberta,
  xlmRoberta,
  robertaPreLayerNorm,
);

/** Architecture of a config.json. Throws `ARCHITECTURE_UNKNOWN`. */
export function architectureOf(
  configJson: Readonly<Record<string, unknown>>,
  registry: ArchitectureRegistry,
): Architecture {
  const modelType = configJson["model_type"];
  const found = typeof modelType === "string" ? registry.get(modelType) : undefined;
  if (found === undefined) {
    const got =
      modelType === undefined
        ? "config.json has no model_type"
        : `config.json says model_type ${JSON.stringify(modelType)}`;
    throw new PeftError(
      "ARCHITECTURE_UNKNOWN",
      `${got}; known are ${[...registry.keys()].join(", ")}. Pass \`architectures\` with your own to add one.`,
    );
  }
  return found;
}

import type { EngineOptions } from "@peftjs/engine";

const { PEFTJS_TFJS_NODE, PEFTJS_EAGER_BACKEND = "cpu", PEFTJS_DEVICE = "cpu" } = process.env;

// A @tensorflow/tfjs-node that lies outside node_modules, as tools/tfjs-node builds it: it registers its backend.
if (PEFTJS_TFJS_NODE !== undefined) await import(PEFTJS_TFJS_NODE);

/**
 * The eager engine that the others are compared with. `PEFTJS_EAGER_BACKEND` names another tfjs backend than `cpu`, and
 * `PEFTJS_TFJS_NODE` the main file of a tfjs-node for the backend `tensorflow`.
 */
export const eagerEngine = {
  kind: "eager",
  backend: PEFTJS_EAGER_BACKEND as NonNullable<EngineOptions["backend"]>,
} as const satisfies EngineOptions;

/** The compiled engine; `PEFTJS_DEVICE` names another device than `cpu`. */
export const compiledEngine = {
  kind: "onnx",
  threads: 1,
  device: PEFTJS_DEVICE as NonNullable<EngineOptions["device"]>,
} as const satisfies EngineOptions;

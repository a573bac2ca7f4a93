import type { StoredTensor } from "@peftjs/core";
import { PeftError } from "@peftjs/core";
import type { Groups, TensorFunction } from "../engine.ts";
import { branchAtGates } from "./branches.ts";
import type { Graph, GraphNode } from "./graph.ts";
import type { LoweredGraph } from "./lower.ts";
import { lower } from "./lower.ts";
import { computeAgain } from "./memory/computeAgain.ts";
import { feedForwardInTurns } from "./memory/inTurns.ts";
import { orderInPlace } from "./memory/inPlace.ts";
import type { Overwrite } from "./memory/overwrites.ts";
import { scheduleForRuntime } from "./memory/schedule.ts";
import type { StoredOptions } from "./readStored.ts";
import { simplify } from "./simplify/simplify.ts";
import { typesOf } from "./trace/failures.ts";
import { describeNode } from "./trace/places.ts";
import { trace } from "./trace/trace.ts";

/** What a program is made from. */
export interface ProgramSource extends StoredOptions {
  readonly fn: TensorFunction;
  readonly args: Groups<StoredTensor>;
  readonly overwrites: readonly Overwrite[];
}

/**
 * The function as a program. When a lowering fails, the function is traced once more with the places of all calls, so that the
 * error names the one: keeping them takes too much time to do it always.
 */
export function lowerFunction(source: ProgramSource): LoweredGraph {
  const graph = trace(source.fn, source.args);
  try {
    return lower(arranged(graph, source), source);
  } catch {
    return lowerWithPlaces(source);
  }
}

/** Simplified, and with as little memory in use at a time as can be. */
function arranged(graph: Graph, { overwrites, ...options }: ProgramSource): Graph {
  const lean = branchAtGates(computeAgain(feedForwardInTurns(simplify(graph)), options));
  return scheduleForRuntime(orderInPlace(lean, overwrites));
}

function lowerWithPlaces(source: ProgramSource): LoweredGraph {
  return lower(arranged(trace(source.fn, source.args, { withPlaces: true }), source), source);
}

/** ONNX Runtime does not take the program. */
export function programInvalid(error: unknown, source: ProgramSource): PeftError {
  return new PeftError(
    "PROGRAM_INVALID",
    `ONNX Runtime does not take the program. ${explained(error, source)} Convert the inputs to one type with tf.cast, replace the kernel's ` +
      'lowering (registerLowering), or run the function on the eager engine: createEngine({ kind: "eager" }).',
    { cause: error },
  );
}

/** ONNX Runtime stopped in the middle of a run: an index that is out of bounds, say. */
export function runFailed(error: unknown, source: ProgramSource): PeftError {
  return new PeftError("RUN_FAILED", `The program failed. ${explained(error, source)} Check the values.`, {
    cause: error,
  });
}

/** ONNX Runtime's reason, and the kernel's call that the node it names was written for. */
function explained(error: unknown, source: ProgramSource): string {
  const reason = (error instanceof Error ? error.message : String(error)).trim().replace(/\.?$/, ".");
  const call = callNamedIn(reason, lowerWithPlaces(source).calls);
  return call === undefined
    ? reason
    : `${reason} The node was written for ${describeNode(call)}, called with ${typesOf(call)}.`;
}

/** Names of nodes are `kernel#index.part`. */
function callNamedIn(text: string, calls: readonly GraphNode[]): GraphNode | undefined {
  const [, kernel, index] = /(\w+)#(\d+)\.\d+/.exec(text) ?? [];
  const call = calls[Number(index)];
  return call?.kernel === kernel ? call : undefined;
}

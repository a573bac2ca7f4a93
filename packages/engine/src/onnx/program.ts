import type { HostTensor, StoredTensor } from "@peftjs/core";
import { isInt8 } from "@peftjs/core";
import type { Tensor } from "onnxruntime-node";
import { InferenceSession } from "onnxruntime-node";
import type { Device } from "../devices.ts";
import type { Groups, TensorFunction } from "../engine.ts";
import type { Leaf } from "../groups.ts";
import { leaves, regroup } from "../groups.ts";
import { argumentOf } from "./arguments.ts";
import type { ValueType } from "./graph.ts";
import type { LoweredInput } from "./lower.ts";
import { freeNow } from "./memory/freeNow.ts";
import type { Overwrite } from "./memory/overwrites.ts";
import { largestFactor } from "./probe.ts";
import { lowerFunction, programInvalid } from "./programErrors.ts";
import { writeModel } from "./writer.ts";

export interface SessionSettings {
  readonly device: Device;
  readonly threads: number;
  /** Where ONNX Runtime writes the time of every node of every run; a file name prefix. */
  readonly profilePrefix?: string;
}

/** What the programs of one function have in common. */
export interface FunctionSettings extends SessionSettings {
  /** Whether intermediate results go back to the system at once instead of into the runtime's own store. */
  readonly returnMemory: boolean;
}

export interface ProgramSettings extends FunctionSettings {
  /** Results that every run writes over arguments. */
  readonly overwrites: readonly Overwrite[];
}

/** Where an argument or a result of the function is in the program. */
interface Place {
  readonly group: string;
  readonly name: string;
  readonly onnxName: string;
  readonly type: ValueType;
  readonly part: LoweredInput["part"];
}

interface Places {
  readonly inputs: readonly Place[];
  readonly outputs: readonly Place[];
}

/** One compiled signature: an open ONNX Runtime session and the places of its arguments. */
export class Program {
  private readonly session: InferenceSession;
  private readonly inputs: readonly Place[];
  private readonly outputs: readonly Place[];
  readonly traceMilliseconds: number;
  readonly openMilliseconds: number;
  /** Of the integers that are multiplied with arguments of eight bits. */
  readonly largest: number | null;

  private constructor(
    session: InferenceSession,
    places: Places,
    {
      traceMilliseconds,
      openMilliseconds,
      largest,
    }: Pick<Program, "traceMilliseconds" | "openMilliseconds" | "largest">,
  ) {
    this.session = session;
    this.inputs = places.inputs;
    this.outputs = places.outputs;
    this.traceMilliseconds = traceMilliseconds;
    this.openMilliseconds = openMilliseconds;
    this.largest = largest;
  }

  static async build(
    fn: TensorFunction,
    args: Groups<StoredTensor>,
    { overwrites, returnMemory, ...settings }: ProgramSettings,
  ): Promise<Program> {
    const started = performance.now();
    const largest = leaves(args).some(({ value }) => isInt8(value)) ? await largestFactor(settings.device) : null;
    const source = { fn, args, overwrites, largest };
    const lowered = lowerFunction(source);
    const bytes = writeModel(lowered);
    const traced = performance.now();
    const session = await InferenceSession.create(bytes, {
      executionProviders: [settings.device],
      intraOpNumThreads: settings.threads,
      interOpNumThreads: 1,
      executionMode: "sequential",
      graphOptimizationLevel: "all",
      // Planning memory ahead keeps every intermediate's place reserved: twice the peak at no gain in time.
      enableMemPattern: false,
      enableCpuMemArena: !returnMemory,
      logSeverityLevel: 3,
      ...(settings.profilePrefix === undefined
        ? {}
        : { enableProfiling: true, profileFilePrefix: settings.profilePrefix }),
      // Adam's second moments underflow to denormals, which are a hundred times slower to multiply.
      extra: {
        session: { set_denormal_as_zero: "1" },
        // Slices that are taken in turns would be made all at once.
        optimization: { disable_specified_optimizers: "GatherSliceToSplitFusion" },
      },
    }).catch((error: unknown) => {
      throw programInvalid(error, source);
    });
    const times = { traceMilliseconds: traced - started, openMilliseconds: performance.now() - traced };
    const places = { inputs: lowered.inputs.map(placeOf), outputs: lowered.outputs.map(placeOf) };
    return new Program(session, places, { ...times, largest });
  }

  async run(args: Groups<StoredTensor>, into: Groups<HostTensor>): Promise<Groups<HostTensor>> {
    const feeds: Record<string, Tensor> = {};
    for (const { group, name, onnxName, part } of this.inputs) {
      feeds[onnxName] = argumentOf(args[group]?.[name] as StoredTensor, part);
    }
    const fetches: Record<string, Tensor | null> = {};
    for (const { group, name, onnxName } of this.outputs) {
      const target = into[group]?.[name];
      fetches[onnxName] = target === undefined ? null : argumentOf(target);
    }
    const results = await this.session.run(feeds, fetches);
    return regroup(this.outputs.map((output) => leafOf(output, results, into)));
  }

  async release(): Promise<void> {
    this.session.endProfiling();
    await this.session.release();
  }
}

/** Without the value, which would keep the whole graph. */
function placeOf({ group, name, onnxName, part, value: { shape, dtype } }: LoweredInput): Place {
  return { group, name, onnxName, part, type: { shape, dtype } };
}

function leafOf(
  { group, name, onnxName, type }: Place,
  results: InferenceSession.OnnxValueMapType,
  into: Groups<HostTensor>,
): Leaf<HostTensor> {
  const target = into[group]?.[name];
  const data = (results[onnxName] as Tensor).data as HostTensor["data"];
  if (target === undefined) return { group, name, value: { ...type, data } };
  // ONNX Runtime's binding hands out a copy of what it has written to the target.
  freeNow(data.buffer as ArrayBuffer);
  return { group, name, value: target };
}

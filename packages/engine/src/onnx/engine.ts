import type { HostTensor, StoredTensor } from "@peftjs/core";
import type { Device } from "../devices.ts";
import type { CompiledFunction, CompileOptions, Counters, Engine, Groups, TensorFunction } from "../engine.ts";
import { signatureOf } from "../groups.ts";
import type { Overwrite } from "./memory/overwrites.ts";
import { overwritesOf, placeOf } from "./memory/overwrites.ts";
import type { FunctionSettings, SessionSettings } from "./program.ts";
import { Program } from "./program.ts";
import { runFailed } from "./programErrors.ts";
import { checkArguments } from "./trace/arguments.ts";

const DEFAULT_MAX_PROGRAMS = 16;

/** Compiles a function into one ONNX program per signature of its arguments. Programs hold no weights. */
export class OnnxEngine implements Engine {
  readonly name = "onnx";
  readonly backend = "onnxruntime";
  private readonly settings: SessionSettings;

  constructor(settings: SessionSettings) {
    this.settings = settings;
  }

  get device(): Device {
    return this.settings.device;
  }

  compile(fn: TensorFunction, options: CompileOptions = {}): CompiledFunction {
    const { maxPrograms = DEFAULT_MAX_PROGRAMS, returnMemory = false } = options;
    return new OnnxFunction(fn, { ...this.settings, returnMemory }, maxPrograms);
  }
}

class OnnxFunction implements CompiledFunction {
  private readonly fn: TensorFunction;
  private readonly settings: FunctionSettings;
  private readonly maxPrograms: number;
  /** In order of last use, the oldest first. */
  private readonly programs = new Map<string, Program>();
  private count = { programsBuilt: 0, programsEvicted: 0, runs: 0, traceMilliseconds: 0, openMilliseconds: 0 };

  constructor(fn: TensorFunction, settings: FunctionSettings, maxPrograms: number) {
    this.fn = fn;
    this.settings = settings;
    this.maxPrograms = maxPrograms;
  }

  get counters(): Counters {
    return { ...this.count };
  }

  async run(args: Groups<StoredTensor>, into: Groups<HostTensor> = {}): Promise<Groups<HostTensor>> {
    checkArguments(args);
    const overwrites = overwritesOf(args, into);
    const program = await this.programFor(args, overwrites);
    this.count.runs++;
    return program.run(args, into).catch((error: unknown) => {
      throw runFailed(error, { fn: this.fn, args, overwrites, largest: program.largest });
    });
  }

  async dispose(): Promise<void> {
    const programs = [...this.programs.values()];
    this.programs.clear();
    await Promise.all(programs.map((program) => program.release()));
  }

  private async programFor(args: Groups<StoredTensor>, overwrites: readonly Overwrite[]): Promise<Program> {
    const signature = [signatureOf(args), ...overwrites.map((o) => `${placeOf(o)}=${o.inputs.join()}`)].join(";");
    const known = this.programs.get(signature);
    if (known !== undefined) {
      this.programs.delete(signature);
      this.programs.set(signature, known);
      return known;
    }
    const program = await Program.build(this.fn, args, { ...this.settings, overwrites });
    this.programs.set(signature, program);
    this.count.programsBuilt++;
    this.count.traceMilliseconds += program.traceMilliseconds;
    this.count.openMilliseconds += program.openMilliseconds;
    await this.evict();
    return program;
  }

  private async evict(): Promise<void> {
    const oldest = this.programs.keys().next().value;
    if (this.programs.size <= this.maxPrograms || oldest === undefined) return;
    await this.programs.get(oldest)?.release();
    this.programs.delete(oldest);
    this.count.programsEvicted++;
  }
}

export type { CompiledFunction, CompileOptions, Counters, Engine, Groups, TensorFunction } from "./engine.ts";

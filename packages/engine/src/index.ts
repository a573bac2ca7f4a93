export { createEngine } from "./createEngine.ts";
export type { EngineOptions } from "./createEngine.ts";
export type { Device } from "./devices.ts";
export type { EagerBackend } from "./eager/backends.ts";
export type { CompiledFunction, CompileOptions, Counters, Engine, Groups, TensorFunction } from "./engine.ts";

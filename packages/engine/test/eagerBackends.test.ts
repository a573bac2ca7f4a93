import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PeftError } from "@peftjs/core";
import type { EngineOptions } from "@peftjs/engine";
import { createEngine } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, describe, expect, it, vi } from "vitest";

const NODE = "@tensorflow/tfjs-node";
const GPU = "@tensorflow/tfjs-node-gpu";

/** A package that registers the backend "tensorflow" as TensorFlow's do, with the cpu backend's kernels behind it. */
const working = (usesGpu: boolean): string => `
  const tf = require(${JSON.stringify(createRequire(import.meta.url).resolve("@tensorflow/tfjs-core"))});
  const backend = Object.create(tf.findBackend("cpu"), { isUsingGpuDevice: { value: ${usesGpu} } });
  tf.registerBackend("tensorflow", () => backend);`;
const broken = `throw new Error("The addon (tfjs_binding.node)\\n can not be found");`;
const silent = "";

const home = process.cwd();
const folders: string[] = [];

/** Starts the program anew in a directory where these packages are installed. */
function install(packages: Readonly<Record<string, string>>): void {
  const folder = mkdtempSync(join(tmpdir(), "peftjs-"));
  folders.push(folder);
  for (const [name, source] of Object.entries(packages)) {
    const at = join(folder, "node_modules", name);
    mkdirSync(at, { recursive: true });
    writeFileSync(join(at, "package.json"), JSON.stringify({ name, main: "index.js" }));
    writeFileSync(join(at, "index.js"), source);
  }
  process.chdir(folder);
}

afterEach(() => {
  vi.restoreAllMocks();
  process.chdir(home);
  if (tf.findBackendFactory("tensorflow") !== null) tf.removeBackend("tensorflow");
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

const place = async (options: EngineOptions): Promise<object> => {
  const { name, backend, device } = await createEngine({ kind: "eager", ...options });
  return { name, backend, device };
};
const failureOf = async (options: EngineOptions): Promise<PeftError> =>
  (await createEngine({ kind: "eager", ...options }).catch((error: unknown) => error)) as PeftError;

describe("the eager engine's backend", () => {
  it.each([
    [{}, {}, "wasm", "cpu"],
    [{ backend: "cpu" }, {}, "cpu", "cpu"],
    [{}, { [NODE]: working(false) }, "tensorflow", "cpu"],
    [{}, { [GPU]: working(true), [NODE]: broken }, "tensorflow", "cuda"],
    [{ device: "cuda" }, { [GPU]: working(true) }, "tensorflow", "cuda"],
    [{ backend: "tensorflow" }, { [GPU]: working(false), [NODE]: broken }, "tensorflow", "cpu"],
    [{ device: "cpu" }, { [GPU]: broken }, "wasm", "cpu"],
    [{ device: "cpu", backend: "wasm" }, { [NODE]: working(false) }, "wasm", "cpu"],
  ] as const)("for %j is the fastest that is installed and fits", async (options, packages, backend, device) => {
    install(packages);
    const warn = vi.spyOn(process, "emitWarning");
    expect(await place(options)).toEqual({ name: "eager", backend, device });
    expect(warn).not.toHaveBeenCalled();
  });

  it("may be one that the program registered itself", async () => {
    install({});
    const cpu = tf.findBackend("cpu");
    tf.registerBackend("tensorflow", () => Object.create(cpu) as tf.KernelBackend);
    expect(await place({ backend: "tensorflow" })).toMatchObject({ backend: "tensorflow", device: "cpu" });
  });

  it.each([
    [{ backend: "tensorflow" }, "BACKEND_MISSING", [GPU, NODE, tf.version_core]],
    [{ device: "cuda" }, "BACKEND_MISSING", [`needs ${GPU},`, tf.version_core]],
    [{ backend: "tensorflow", device: "cpu" }, "BACKEND_MISSING", [`needs ${NODE},`]],
    [{ backend: "wasm", device: "cuda" }, "DEVICE_UNAVAILABLE", ['"wasm" computes on the processor']],
    [{ device: "webgpu" }, "DEVICE_UNAVAILABLE", ['kind "onnx"']],
    [{ backend: "tensorflwo" as "wasm" }, "BACKEND_UNKNOWN", ['Did you mean "tensorflow"?', '"wasm", "cpu"']],
  ] as const)("for %j, with no package installed, is %s", async (options, code, parts) => {
    install({});
    const failure = await failureOf(options);
    expect(failure).toMatchObject({ code });
    for (const part of parts) expect(failure.message).toContain(part);
  });

  it("that was asked for and does not load is an error with its own words and the remedy", async () => {
    install({ [NODE]: broken });
    const failure = await failureOf({ backend: "tensorflow" });
    expect(failure).toMatchObject({ code: "BACKEND_BROKEN" });
    expect(failure.message).toContain("does not load: The addon (tfjs_binding.node) can not be found.");
    expect(failure.message).toContain(`npm rebuild ${NODE}`);
  });

  it("that was not asked for and does not load is passed over with one warning", async () => {
    install({ [GPU]: broken });
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
    for (let i = 0; i < 2; i++) expect(await place({})).toMatchObject({ backend: "wasm" });
    expect(warn).toHaveBeenCalledOnce();
    expect(warn.mock.calls[0]?.[0]).toContain(`${GPU} is installed but does not load`);
  });

  it("must register in the copy of tfjs-core that is in use", async () => {
    install({ [NODE]: silent });
    const failure = await failureOf({ backend: "tensorflow" });
    expect(failure).toMatchObject({ code: "BACKEND_BROKEN" });
    expect(failure.message).toContain("another copy of @tensorflow/tfjs-core");
  });

  it("says so when the graphics card that was asked for is not found", async () => {
    install({ [GPU]: working(false) });
    const failure = await failureOf({ device: "cuda" });
    expect(failure).toMatchObject({ code: "DEVICE_UNAVAILABLE" });
    expect(failure.message).toContain("TensorFlow found no graphics card");
  });
});

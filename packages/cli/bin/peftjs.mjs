#!/usr/bin/env node
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";

// The published package has no sources and runs what was built; in the workspace the sources run, so that no build is needed
// and none can be out of date.
const source = fileURLToPath(new URL("../src/bin.ts", import.meta.url));

if (existsSync(source)) runSource();
else await import("../dist/bin.js");

function runSource() {
  const loader = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  const args = ["--conditions=@peftjs/source", "--import", loader, source, ...process.argv.slice(2)];
  const child = spawn(process.execPath, args, { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
  child.on("close", (code, signal) => {
    process.exitCode = signal === null ? (code ?? 1) : 1;
  });
}
